// Package layotto is the API of Layotto's SDKs: the lock calls of its runtime, at the
// same names, with the same checks, and with keys that an SDK's program cannot tell from
// those of Layotto.
package layotto

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mortise-lock/mortise/component/instances"
	layottopb "github.com/mortise-lock/mortise/proto/spec/proto/runtime/v1"
	"github.com/mortise-lock/mortise/stores"
)

// Options says what the API stands for.
type Options struct {
	// AppID is whose locks these are, and part of their keys; may be empty. Layotto's
	// requests do not tell: a process is for one.
	AppID string
	// KeyPrefixes are the components that calls can name, each with its metadata
	// keyPrefix as it is written, empty if it has none.
	KeyPrefixes map[string]string
	// Stores has their stores.
	Stores Stores
}

// Stores finds the store of a component by its name. Do calls fn with it, and returns
// fn's error as it is. It fails with instances.ErrNotInitialized if the component is not
// open.
type Stores interface {
	Do(ctx context.Context, component string, fn func(stores.Store) error) error
}

// Service serves Layotto's lock calls. It is safe for concurrent use.
type Service struct {
	layottopb.UnimplementedRuntimeServer
	stores   Stores
	prefixes map[string]string // what the keys of each component begin with
}

// New returns a service. It fails if a component's keyPrefix is one that Layotto would
// not start with.
func New(o Options) (*Service, error) {
	s := &Service{stores: o.Stores, prefixes: make(map[string]string, len(o.KeyPrefixes))}
	for name, prefix := range o.KeyPrefixes {
		if err := checkNoSeparator(prefix); err != nil {
			return nil, fmt.Errorf("component %q: metadata key keyPrefix: %w", name, err)
		}
		s.prefixes[name] = o.keyPrefix(name)
	}
	return s, nil
}

// TryLock takes the lock if nobody holds it. A client that is gone by then gets nothing.
func (s *Service) TryLock(ctx context.Context, m *layottopb.TryLockRequest) (*layottopb.TryLockResponse, error) {
	ask, err := s.newRequest(m)
	if err != nil {
		return nil, err
	}
	var grant stores.Grant
	err = s.do(ctx, m, func(store stores.Store) (err error) {
		grant, err = store.TryLock(ctx, ask)
		grant, err = stores.Keep(ctx, store, grant, err, ask.Owner, ask.Key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &layottopb.TryLockResponse{Success: grant.Acquired}, nil
}

// Unlock gives the lock back. That there is nothing to give back is a status and not an
// error.
func (s *Service) Unlock(ctx context.Context, m *layottopb.UnlockRequest) (*layottopb.UnlockResponse, error) {
	key, err := s.key(m)
	if err != nil {
		return nil, err
	}
	status, err := outcome(s.do(ctx, m, func(store stores.Store) error { return store.Unlock(ctx, key, m.GetLockOwner()) }))
	if err != nil {
		return nil, err
	}
	return &layottopb.UnlockResponse{Status: status}, nil
}

// LockKeepAlive lets the owner's lock last for as long as the message says, from now. A
// lock that is gone stays so.
func (s *Service) LockKeepAlive(
	ctx context.Context, m *layottopb.LockKeepAliveRequest,
) (*layottopb.LockKeepAliveResponse, error) {
	ask, err := s.newRequest(m)
	if err != nil {
		return nil, err
	}
	status, err := outcome(s.do(ctx, m, func(store stores.Store) error {
		_, err := stores.Renew(ctx, store, ask)
		return err
	}))
	if err != nil {
		return nil, err
	}
	return &layottopb.LockKeepAliveResponse{Status: layottopb.LockKeepAliveResponse_Status(status)}, nil // the same numbers
}

// lease is what the message asks of a store.
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

// outcome is a call's status, or its error if it is in no status. Errors go out as they
// are: gRPC makes them Unknown, or what the end of a context is, with their text.
func outcome(err error) (layottopb.UnlockResponse_Status, error) {
	switch {
	case errors.Is(err, stores.ErrNotHeld):
		return layottopb.UnlockResponse_LOCK_UNEXIST, nil
	case errors.Is(err, stores.ErrNotOwner):
		return layottopb.UnlockResponse_LOCK_BELONG_TO_OTHERS, nil
	}
	return layottopb.UnlockResponse_SUCCESS, err
}
