// Package layotto is the API for Layotto's SDKs. It serves the lock calls of Layotto's
// runtime with the same service name, the same checks and the same keys.
package layotto

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/internal/keyprefix"
	layottopb "github.com/mortise-lock/mortise/proto/spec/proto/runtime/v1"
	"github.com/mortise-lock/mortise/stores"
)

// Options are the settings of a Service.
type Options struct {
	// AppID is part of the locks' keys; it may be empty. Layotto's requests do not
	// contain it, because a Layotto process serves one app.
	AppID string
	// KeyPrefixes are the components that calls can name, each with its metadata
	// keyPrefix, which is empty if it has none.
	KeyPrefixes map[string]string
	// Stores has the components' stores.
	Stores Stores
}

// Stores finds the store of a component by the component's name. Do calls fn with it and
// returns fn's error unchanged. It fails with instances.ErrNotInitialized if the
// component is not open.
type Stores interface {
	Do(ctx context.Context, component string, fn func(stores.Store) error) error
}

// Service serves Layotto's lock calls. It is safe for concurrent use.
type Service struct {
	layottopb.UnimplementedRuntimeServer
	stores   Stores
	prefixes map[string]string // of keys, by component
}

// New returns a service. It fails if Layotto would not start with the keyPrefix of a
// component.
func New(o Options) (*Service, error) {
	s := &Service{stores: o.Stores, prefixes: make(map[string]string, len(o.KeyPrefixes))}
	for name, prefix := range o.KeyPrefixes {
		if err := keyprefix.CheckPart(prefix); err != nil {
			return nil, fmt.Errorf("component %q: metadata key keyPrefix: %w", name, err)
		}
		s.prefixes[name] = o.keyPrefix(name)
	}
	return s, nil
}

// TryLock acquires the lock if it is free. If the caller has canceled by then, the lock
// is released again.
func (s *Service) TryLock(ctx context.Context, m *layottopb.TryLockRequest) (*layottopb.TryLockResponse, error) {
	req, err := s.newRequest(m)
	if err != nil {
		return nil, err
	}
	var grant stores.Grant
	err = s.do(ctx, m, func(store stores.Store) (err error) {
		grant, err = stores.TryLock(ctx, store, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &layottopb.TryLockResponse{Success: grant.Acquired}, nil
}

// Unlock releases the lock. It reports a lock that is free, or that another owner holds,
// with a status and not with an error.
func (s *Service) Unlock(ctx context.Context, m *layottopb.UnlockRequest) (*layottopb.UnlockResponse, error) {
	key, err := s.key(m)
	if err != nil {
		return nil, err
	}
	status, err := outcome(s.do(ctx, m, func(store stores.Store) error {
		return stores.Unlock(ctx, store, key, m.GetLockOwner())
	}))
	if err != nil {
		return nil, err
	}
	return &layottopb.UnlockResponse{Status: status}, nil
}

// LockKeepAlive renews the owner's lock for the time in the message, counted from now. It
// does not acquire a lock that has expired.
func (s *Service) LockKeepAlive(
	ctx context.Context, m *layottopb.LockKeepAliveRequest,
) (*layottopb.LockKeepAliveResponse, error) {
	req, err := s.newRequest(m)
	if err != nil {
		return nil, err
	}
	status, err := outcome(s.do(ctx, m, func(store stores.Store) error {
		_, err := stores.Renew(ctx, store, req)
		return err
	}))
	if err != nil {
		return nil, err
	}
	// The two enums have the same numbers.
	return &layottopb.LockKeepAliveResponse{Status: layottopb.LockKeepAliveResponse_Status(status)}, nil
}

// newRequest returns the message as a store's request.
func (s *Service) newRequest(m leaseMessage) (stores.Request, error) {
	key, err := s.key(m)
	return stores.Request{Key: key, Owner: m.GetLockOwner(), TTL: time.Duration(m.GetExpire()) * time.Second}, err
}

// do calls fn with the message's store.
func (s *Service) do(ctx context.Context, m lockMessage, fn func(stores.Store) error) error {
	err := s.stores.Do(ctx, m.GetStoreName(), fn)
	if errors.Is(err, instances.ErrNotInitialized) {
		return notFound(m)
	}
	return err
}

// outcome returns the status for a call's error, or the error if there is none. Errors
// are returned unchanged: gRPC gives them the code Unknown, or the code for the end of a
// context, with their text.
func outcome(err error) (layottopb.UnlockResponse_Status, error) {
	switch {
	case errors.Is(err, stores.ErrNotHeld):
		return layottopb.UnlockResponse_LOCK_UNEXIST, nil
	case errors.Is(err, stores.ErrNotOwner):
		return layottopb.UnlockResponse_LOCK_BELONG_TO_OTHERS, nil
	}
	return layottopb.UnlockResponse_SUCCESS, err
}
