package daprapi

import (
	"context"
	"errors"
	"time"

	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/stores"
)

// lockRequest has the fields that requests to acquire and to release a lock have in
// common.
type lockRequest interface {
	GetStoreName() string
	GetResourceId() string
	GetLockOwner() string
}

// TryLockAlpha1 acquires the lock if it is free. If the caller has canceled by then, the
// lock is released again.
func (a *API) TryLockAlpha1(ctx context.Context, m *runtimepb.TryLockRequest) (*runtimepb.TryLockResponse, error) {
	if m.GetExpiryInSeconds() <= 0 {
		return nil, errExpiry.with(m.GetStoreName())
	}
	prefix, err := a.find(m)
	if err != nil {
		return nil, err
	}
	acquired, err := a.tryLock(ctx, prefix, m)
	if err != nil {
		return nil, errTryLock.with(err)
	}
	return &runtimepb.TryLockResponse{Success: acquired}, nil
}

// UnlockAlpha1 releases the lock. It reports a lock that is free, or that another owner
// holds, with a status and not with an error.
func (a *API) UnlockAlpha1(ctx context.Context, m *runtimepb.UnlockRequest) (*runtimepb.UnlockResponse, error) {
	prefix, err := a.find(m)
	if err != nil {
		return nil, err
	}
	switch err := a.unlock(ctx, prefix, m); {
	case errors.Is(err, stores.ErrNotHeld):
		return &runtimepb.UnlockResponse{Status: runtimepb.UnlockResponse_LOCK_DOES_NOT_EXIST}, nil
	case errors.Is(err, stores.ErrNotOwner):
		return &runtimepb.UnlockResponse{Status: runtimepb.UnlockResponse_LOCK_BELONGS_TO_OTHERS}, nil
	case err != nil:
		return nil, errUnlock.with(err)
	}
	return &runtimepb.UnlockResponse{Status: runtimepb.UnlockResponse_SUCCESS}, nil
}

// find makes daprd's checks in daprd's order, and returns the prefix of the component's
// keys.
func (a *API) find(m lockRequest) (prefix string, err error) {
	prefix, found := a.prefixes[m.GetStoreName()]
	switch {
	case len(a.prefixes) == 0:
		return "", errNotConfigured
	case m.GetResourceId() == "":
		return "", errResource.with(m.GetStoreName())
	case m.GetLockOwner() == "":
		return "", errOwner.with(m.GetStoreName())
	case !found:
		return "", errNotFound.with(m.GetStoreName())
	}
	return prefix, nil
}

func (a *API) tryLock(ctx context.Context, prefix string, m *runtimepb.TryLockRequest) (acquired bool, err error) {
	key, err := a.key(prefix, m)
	if err != nil {
		return false, err
	}
	req := stores.Request{Key: key, Owner: m.GetLockOwner(), TTL: time.Duration(m.GetExpiryInSeconds()) * time.Second}
	grant, err := instances.Call(ctx, a.options.Stores, m.GetStoreName(), func(store stores.Store) (stores.Grant, error) {
		return stores.TryLock(ctx, store, req)
	})
	return grant.Acquired, err
}

func (a *API) unlock(ctx context.Context, prefix string, m *runtimepb.UnlockRequest) error {
	key, err := a.key(prefix, m)
	if err != nil {
		return err
	}
	return a.options.Stores.Do(ctx, m.GetStoreName(), func(store stores.Store) error {
		return stores.Unlock(ctx, store, key, m.GetLockOwner())
	})
}

// key returns the key of the request's lock, if it is valid.
func (a *API) key(prefix string, m lockRequest) (string, error) {
	key, err := keyOf(prefix, m.GetResourceId())
	if err != nil {
		return "", err
	}
	return key, withDaprField(stores.ValidateKey(key, m.GetLockOwner()))
}

// withDaprField replaces the contract's field names in an error with Dapr's.
func withDaprField(err error) error {
	bad, ok := errors.AsType[*stores.FieldError](err)
	if !ok {
		return err
	}
	names := map[string]string{"key": "ResourceId with its prefix", "owner": "LockOwner"}
	return &stores.FieldError{Field: names[bad.Field], Problem: bad.Problem}
}
