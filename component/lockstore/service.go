// Package lockstore is the API that daprd comes in by: the LockStore service of Dapr's
// pluggable components.
package lockstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"google.golang.org/grpc/metadata"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	"github.com/mortise-lock/mortise/stores"
)

// Names in the metadata of a TryLock's answer.
const (
	TokenKey     = "fencingToken"
	ExpiresInKey = "expiresInMs"
)

// Service serves the components of a set. It is safe for concurrent use.
type Service struct {
	lockpb.UnimplementedLockStoreServer
	instances *instances.Set
}

// New returns a service that opens and uses the components of set.
func New(set *instances.Set) *Service { return &Service{instances: set} }

// Init opens the component's store; see [instances.Set.Open].
func (s *Service) Init(ctx context.Context, req *lockpb.LockStoreInitRequest) (*lockpb.LockStoreInitResponse, error) {
	err := s.instances.Open(ctx, instanceName(ctx), req.GetMetadata().GetProperties())
	if err != nil {
		return nil, initStatus(err)
	}
	return &lockpb.LockStoreInitResponse{}, nil
}

// Features lists what the component's store can do. What a store can do that is not open
// yet is not known: a sidecar asks for it when it starts, which it can without the
// storage.
func (s *Service) Features(ctx context.Context, _ *daprpb.FeaturesRequest) (*daprpb.FeaturesResponse, error) {
	var features []string
	err := s.instances.Do(ctx, instanceName(ctx), func(store stores.Store) error {
		features = stores.Features(store)
		return nil
	})
	if errors.Is(err, instances.ErrNotOpen) {
		err = nil
	}
	return &daprpb.FeaturesResponse{Features: features}, callStatus(err)
}

// Ping asks the component's storage for a sign of life. A store that cannot ask is taken
// at its word.
func (s *Service) Ping(ctx context.Context, _ *daprpb.PingRequest) (*daprpb.PingResponse, error) {
	err := s.instances.Do(ctx, instanceName(ctx), func(store stores.Store) error {
		if err := stores.Ping(ctx, store); !errors.Is(err, stores.ErrUnsupported) {
			return err
		}
		return nil
	})
	return &daprpb.PingResponse{}, callStatus(err)
}

// TryLock takes the lock if nobody holds it. A caller that is gone by then gets nothing.
func (s *Service) TryLock(ctx context.Context, req *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
	if seconds := req.GetExpiryInSeconds(); seconds < 1 {
		return nil, rpcstatus.Field("expiry_in_seconds", fmt.Sprintf("is %d, the least is 1", seconds))
	}
	ask := stores.Request{
		Key:   req.GetResourceId(),
		Owner: req.GetLockOwner(),
		TTL:   time.Duration(req.GetExpiryInSeconds()) * time.Second,
	}
	if err := ask.Validate(); err != nil {
		return nil, callStatus(err)
	}
	var grant stores.Grant
	err := s.instances.Do(ctx, instanceName(ctx), func(store stores.Store) (err error) {
		grant, err = stores.TryLock(ctx, store, ask)
		return err
	})
	if err != nil {
		return nil, callStatus(err)
	}
	return &lockpb.TryLockResponse{Success: grant.Acquired, Metadata: grantMetadata(grant)}, nil
}

// Unlock gives the lock back. That there is nothing to give back is a status and not an
// error.
func (s *Service) Unlock(ctx context.Context, req *lockpb.UnlockRequest) (*lockpb.UnlockResponse, error) {
	key, owner := req.GetResourceId(), req.GetLockOwner()
	if err := stores.ValidateKey(key, owner); err != nil {
		return nil, callStatus(err)
	}
	err := s.instances.Do(ctx, instanceName(ctx), func(store stores.Store) error {
		return stores.Unlock(ctx, store, key, owner)
	})
	switch {
	case errors.Is(err, stores.ErrNotHeld):
		return &lockpb.UnlockResponse{Status: lockpb.UnlockResponse_LOCK_DOES_NOT_EXIST}, nil
	case errors.Is(err, stores.ErrNotOwner):
		return &lockpb.UnlockResponse{Status: lockpb.UnlockResponse_LOCK_BELONGS_TO_OTHERS}, nil
	case err != nil:
		return nil, callStatus(err)
	}
	return &lockpb.UnlockResponse{Status: lockpb.UnlockResponse_SUCCESS}, nil
}

// grantMetadata tells what Dapr's messages have no field for.
func grantMetadata(grant stores.Grant) map[string]string {
	if !grant.Acquired {
		return nil
	}
	return map[string]string{
		TokenKey:     strconv.FormatUint(grant.Token, 10),
		ExpiresInKey: strconv.FormatInt(max(0, time.Until(grant.Expires).Milliseconds()), 10),
	}
}

// instanceName is the component that the call is for. A caller that names none means the
// one without a name.
func instanceName(ctx context.Context) string {
	if names := metadata.ValueFromIncomingContext(ctx, instances.Header); len(names) > 0 {
		return names[0]
	}
	return ""
}
