// Package lockstore is the API for daprd: the LockStore service of Dapr's pluggable
// components.
package lockstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	"github.com/mortise-lock/mortise/stores"
)

// Names in the metadata of a TryLock response.
const (
	TokenKey     = "fencingToken"
	ExpiresInKey = "expiresInMs"
)

// Service serves the components of a set. It is safe for concurrent use.
type Service struct {
	lockpb.UnimplementedLockStoreServer
	instances *instances.Set
}

// New returns a service for the components of set.
func New(set *instances.Set) *Service { return &Service{instances: set} }

// Init opens the component's store; see [instances.Set.Open].
func (s *Service) Init(ctx context.Context, req *lockpb.LockStoreInitRequest) (*lockpb.LockStoreInitResponse, error) {
	err := s.instances.Open(ctx, instances.NameFromHeader(ctx), req.GetMetadata().GetProperties())
	if err != nil {
		return nil, initStatus(err)
	}
	return &lockpb.LockStoreInitResponse{}, nil
}

// Features returns what the component's store can do. It returns no features for a store
// that is not open yet, so that a sidecar can start while the storage is unreachable.
func (s *Service) Features(ctx context.Context, _ *daprpb.FeaturesRequest) (*daprpb.FeaturesResponse, error) {
	features, err := instances.Call(ctx, s.instances, instances.NameFromHeader(ctx), func(store stores.Store) ([]string, error) {
		return stores.Features(store), nil
	})
	if errors.Is(err, instances.ErrNotOpen) {
		err = nil
	}
	return &daprpb.FeaturesResponse{Features: features}, callStatus(err)
}

// Ping pings the component's storage. A store without Ping counts as reachable.
func (s *Service) Ping(ctx context.Context, _ *daprpb.PingRequest) (*daprpb.PingResponse, error) {
	err := s.instances.Do(ctx, instances.NameFromHeader(ctx), func(store stores.Store) error {
		if err := stores.Ping(ctx, store); !errors.Is(err, stores.ErrUnsupported) {
			return err
		}
		return nil
	})
	return &daprpb.PingResponse{}, callStatus(err)
}

// TryLock acquires the lock if it is free. If the caller has canceled by then, the lock
// is released again.
func (s *Service) TryLock(ctx context.Context, req *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
	if seconds := req.GetExpiryInSeconds(); seconds < 1 {
		return nil, rpcstatus.Field("expiry_in_seconds", fmt.Sprintf("must be at least 1, got %d", seconds))
	}
	request := stores.Request{
		Key:   req.GetResourceId(),
		Owner: req.GetLockOwner(),
		TTL:   time.Duration(req.GetExpiryInSeconds()) * time.Second,
	}
	if err := request.Validate(); err != nil {
		return nil, callStatus(err)
	}
	grant, err := instances.Call(ctx, s.instances, instances.NameFromHeader(ctx), func(store stores.Store) (stores.Grant, error) {
		return stores.TryLock(ctx, store, request)
	})
	if err != nil {
		return nil, callStatus(err)
	}
	return &lockpb.TryLockResponse{Success: grant.Acquired, Metadata: grantMetadata(grant)}, nil
}

// Unlock releases the lock. It reports a lock that is free, or that another owner holds,
// with a status and not with an error.
func (s *Service) Unlock(ctx context.Context, req *lockpb.UnlockRequest) (*lockpb.UnlockResponse, error) {
	key, owner := req.GetResourceId(), req.GetLockOwner()
	if err := stores.ValidateKey(key, owner); err != nil {
		return nil, callStatus(err)
	}
	err := s.instances.Do(ctx, instances.NameFromHeader(ctx), func(store stores.Store) error {
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

// grantMetadata returns the values that Dapr's messages have no field for.
func grantMetadata(grant stores.Grant) map[string]string {
	if !grant.Acquired {
		return nil
	}
	return map[string]string{
		TokenKey:     strconv.FormatUint(grant.Token, 10),
		ExpiresInKey: strconv.FormatInt(max(0, time.Until(grant.Expires).Milliseconds()), 10),
	}
}
