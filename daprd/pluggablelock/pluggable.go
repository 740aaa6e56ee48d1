// Package pluggablelock lets daprd use lock stores that run outside of it, as it uses
// pluggable state stores: importing the package is enough. Every socket in daprd's
// sockets folder that serves dapr.proto.components.v1.LockStore becomes a component type,
// lock.<name of the socket file>.
//
// Importing the package also bounds how long discovery waits for a socket that cannot be
// used; see unixBuilder.
package pluggablelock

import (
	"context"
	"fmt"
	"maps"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	contriblock "github.com/dapr/components-contrib/lock"
	"github.com/dapr/dapr/pkg/components/lock"
	"github.com/dapr/dapr/pkg/components/pluggable"
	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"github.com/dapr/kit/logger"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
)

// defaultInitTimeout bounds an Init whose caller did not. It is what daprd grants when a
// component's YAML is silent.
const defaultInitTimeout = 5 * time.Second

// maxRestarts is how many restarts of the component a call lives through. More are a
// component that does not remember Init.
const maxRestarts = 10

const (
	// closeTimeout is how long Close waits for calls under way.
	closeTimeout = time.Second

	// allCalls is more than there can be.
	maxCalls = math.MaxInt64
)

func init() {
	pluggable.AddServiceDiscoveryCallback(lockpb.LockStore_ServiceDesc.ServiceName, register)
}

// register makes the lock stores behind dial available as component type lock.<name>.
func register(name string, dial pluggable.GRPCConnectionDialer) {
	lock.DefaultRegistry.RegisterComponent(func(l logger.Logger) contriblock.Store {
		return newGRPCLockStore(l, dial)
	}, name)
}

// grpcLockStore is a lock store in another process. After InitLockStore its methods are
// safe for concurrent use.
type grpcLockStore struct {
	logger    logger.Logger
	dial      pluggable.GRPCConnectionDialer
	connector *pluggable.GRPCConnector[lockpb.LockStoreClient] // nil unless InitLockStore succeeded

	calls *semaphore.Weighted // one for each call under way, all of them for Close

	// What a component that has restarted is told again.
	name        string
	initRequest *lockpb.LockStoreInitRequest
	initTimeout time.Duration

	initLock  *semaphore.Weighted // held by the one call that repeats Init
	initCount atomic.Uint64       // how many repetitions of Init have ended; see initAgain
	initErr   error               // of the last of them; guarded by turn
}

func newGRPCLockStore(l logger.Logger, dial pluggable.GRPCConnectionDialer) *grpcLockStore {
	return &grpcLockStore{
		logger:      l,
		dial:        dial.WithOptions(dialOptions()...),
		initTimeout: defaultInitTimeout,
		calls:       semaphore.NewWeighted(maxCalls),
		initLock:    semaphore.NewWeighted(1),
	}
}

// InitLockStore connects to the component and passes the metadata on, all within ctx. The
// store is of no use if it fails.
func (s *grpcLockStore) InitLockStore(ctx context.Context, metadata contriblock.Metadata) error {
	s.name = metadata.Name
	s.initRequest = &lockpb.LockStoreInitRequest{
		Metadata: &daprpb.MetadataRequest{Properties: maps.Clone(metadata.Properties)},
	}
	if deadline, ok := ctx.Deadline(); ok {
		s.initTimeout = time.Until(deadline)
	}

	connector := pluggable.NewGRPCConnectorWithDialer(dialWithin(ctx, s.dial), lockpb.NewLockStoreClient)
	if err := connector.Dial(s.name); err != nil {
		connector.Cancel()
		return err
	}
	s.connector = connector
	if err := s.sendInit(ctx); err != nil {
		// daprd forgets a store whose Init failed, and does not close it.
		_ = s.Close()
		s.connector = nil
		return err
	}
	return nil
}

// sendInit tells the component its metadata and asks for its features, for which daprd
// has no use yet but to log them.
func (s *grpcLockStore) sendInit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.initTimeout)
	defer cancel()
	if _, err := s.connector.Client.Init(ctx, s.initRequest); err != nil {
		return messageOnly(err)
	}
	resp, err := s.connector.Client.Features(ctx, &daprpb.FeaturesRequest{})
	if err != nil {
		return messageOnly(err)
	}
	s.logger.Infof("pluggable lock store %s initialized, features: %v", s.name, resp.GetFeatures())
	return nil
}

// TryLock takes the lock if nobody holds it. After an error the lock may have been taken,
// unless the error says that there was no connection. A request whose answer was lost is
// not repeated: it would be refused the lock that it took.
func (s *grpcLockStore) TryLock(ctx context.Context, req *contriblock.TryLockRequest) (*contriblock.TryLockResponse, error) {
	resp, err := call(ctx, s, s.connector.Client.TryLock, &lockpb.TryLockRequest{
		ResourceId:      req.ResourceID,
		LockOwner:       req.LockOwner,
		ExpiryInSeconds: req.ExpiryInSeconds,
		Metadata:        req.Metadata,
	})
	if err != nil {
		return nil, err
	}
	return &contriblock.TryLockResponse{Success: resp.GetSuccess(), Metadata: resp.GetMetadata()}, nil
}

// Unlock gives the lock back, if it is the owner's.
func (s *grpcLockStore) Unlock(ctx context.Context, req *contriblock.UnlockRequest) (*contriblock.UnlockResponse, error) {
	resp, err := call(ctx, s, s.connector.Client.Unlock, &lockpb.UnlockRequest{
		ResourceId: req.ResourceID,
		LockOwner:  req.LockOwner,
		Metadata:   req.Metadata,
	})
	if err != nil {
		return nil, err
	}
	// The numbers are the same on both sides.
	return &contriblock.UnlockResponse{Status: contriblock.Status(resp.GetStatus()), Metadata: resp.GetMetadata()}, nil
}

// Close lets the calls under way finish, for closeTimeout at most, and closes the
// connection; calls that come later fail. So a hot reload leaves no lock behind whose
// grant nobody heard of. It does nothing unless InitLockStore succeeded.
func (s *grpcLockStore) Close() error {
	if s.connector == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if s.calls.Acquire(ctx, maxCalls) == nil {
		defer s.calls.Release(maxCalls)
	}
	return s.connector.Close()
}

// call sends a request to the component. A component that answers that it was not
// initialized has restarted and has done nothing about the request: it gets Init again,
// and then the request once more. It may restart again meanwhile.
func call[Req, Resp any](
	ctx context.Context, s *grpcLockStore, send func(context.Context, Req, ...grpc.CallOption) (Resp, error), req Req,
) (resp Resp, err error) {
	if err := s.calls.Acquire(ctx, 1); err != nil {
		return resp, status.FromContextError(err).Err()
	}
	defer s.calls.Release(1)
	for restarts := 0; ; restarts++ {
		attempts := s.initCount.Load()
		resp, err := send(withTraceContext(ctx), req)
		if !notInitialized(err) || restarts == maxRestarts {
			return resp, messageOnly(err)
		}
		if err := s.reinitialize(ctx, attempts); err != nil && !notInitialized(err) {
			return resp, messageOnly(err)
		}
	}
}

// initAgain repeats Init, once for all calls that met the same restart, and tells every
// one of them how it went. Which those are is told by seen, the number of attempts before
// the call was sent: if there are more by now, another call has been here since.
func (s *grpcLockStore) reinitialize(ctx context.Context, seen uint64) error {
	if err := s.initLock.Acquire(ctx, 1); err != nil {
		return status.FromContextError(err).Err()
	}
	defer s.initLock.Release(1)
	if s.initCount.Load() != seen {
		return s.initErr
	}

	s.logger.Warnf("pluggable lock store %s has restarted, initializing it again", s.name)
	err := s.sendInit(ctx)
	if err != nil {
		err = fmt.Errorf("component has restarted and could not be initialized again: %w", err)
	}
	// If ctx ended, that is this call's affair. The next in turn tries for itself.
	if err == nil || ctx.Err() == nil {
		s.initErr = err
		s.initCount.Add(1)
	}
	return err
}
