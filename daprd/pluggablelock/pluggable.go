// Package pluggablelock lets daprd use lock stores in other processes, as it uses
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

// defaultInitTimeout is the timeout of an Init whose context has no deadline. It is
// daprd's default.
const defaultInitTimeout = 5 * time.Second

// maxRestarts is the number of restarts of the component after which a call fails. More
// restarts mean a component that loses its Init.
const maxRestarts = 10

const (
	// closeTimeout is how long Close waits for calls in progress.
	closeTimeout = time.Second

	// maxCalls is larger than the possible number of calls.
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
	logger logger.Logger
	dial   pluggable.GRPCConnectionDialer
	// Nil unless InitLockStore succeeded.
	connector *pluggable.GRPCConnector[lockpb.LockStoreClient]

	calls *semaphore.Weighted // held by calls in progress, one each; Close acquires all

	// The arguments of Init, which are sent again when the component has restarted.
	name        string
	initRequest *lockpb.LockStoreInitRequest
	initTimeout time.Duration

	initLock  *semaphore.Weighted // held by the call that repeats Init
	initCount atomic.Uint64       // completed repetitions of Init; see reinitialize
	initErr   error               // the result of the last of them; guarded by initLock
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

// InitLockStore connects to the component and sends it the metadata, before ctx ends. If
// it fails, the store cannot be used.
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
		// daprd does not close a store whose Init failed.
		_ = s.Close()
		s.connector = nil
		return err
	}
	return nil
}

// sendInit sends Init and requests the features, which daprd only logs.
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
	s.logger.Infof("Initialized pluggable lock store %s, features: %v", s.name, resp.GetFeatures())
	return nil
}

// TryLock acquires the lock if it is free. After an error the lock may be held, unless
// the error reports that there was no connection. A request whose response was lost is
// not repeated, because the lock that it acquired would be refused.
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

// Unlock releases the lock, if the owner holds it.
func (s *grpcLockStore) Unlock(ctx context.Context, req *contriblock.UnlockRequest) (*contriblock.UnlockResponse, error) {
	resp, err := call(ctx, s, s.connector.Client.Unlock, &lockpb.UnlockRequest{
		ResourceId: req.ResourceID,
		LockOwner:  req.LockOwner,
		Metadata:   req.Metadata,
	})
	if err != nil {
		return nil, err
	}
	// Both enumerations have the same numbers.
	return &contriblock.UnlockResponse{Status: contriblock.Status(resp.GetStatus()), Metadata: resp.GetMetadata()}, nil
}

// Close waits for calls in progress, for at most closeTimeout, and closes the connection;
// later calls fail. So a hot reload leaves no lock whose grant was not received. Close
// does nothing unless InitLockStore succeeded.
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

// call sends a request to the component. If the component responds that it was not
// initialized, it has restarted and has not processed the request: call repeats Init and
// then the request. The component may restart again meanwhile.
func call[Req, Resp any](
	ctx context.Context, s *grpcLockStore, send func(context.Context, Req, ...grpc.CallOption) (Resp, error), req Req,
) (resp Resp, err error) {
	if err := s.calls.Acquire(ctx, 1); err != nil {
		return resp, status.FromContextError(err).Err()
	}
	defer s.calls.Release(1)
	for restarts := 0; ; restarts++ {
		count := s.initCount.Load()
		resp, err := send(withTraceContext(ctx), req)
		if !notInitialized(err) || restarts == maxRestarts {
			return resp, messageOnly(err)
		}
		if err := s.reinitialize(ctx, count); err != nil && !notInitialized(err) {
			return resp, messageOnly(err)
		}
	}
}

// reinitialize repeats Init once for all calls that the same restart affects, and returns
// its result to each. seen is initCount before the call was sent: if initCount is larger
// now, another call has repeated Init since.
func (s *grpcLockStore) reinitialize(ctx context.Context, seen uint64) error {
	if err := s.initLock.Acquire(ctx, 1); err != nil {
		return status.FromContextError(err).Err()
	}
	defer s.initLock.Release(1)
	if s.initCount.Load() != seen {
		return s.initErr
	}

	s.logger.Warnf("Initializing pluggable lock store %s again, because it has restarted", s.name)
	err := s.sendInit(ctx)
	if err != nil {
		err = fmt.Errorf("component has restarted and could not be initialized again: %w", err)
	}
	// If ctx ended, only this call fails. The next one repeats Init again.
	if err == nil || ctx.Err() == nil {
		s.initErr = err
		s.initCount.Add(1)
	}
	return err
}
