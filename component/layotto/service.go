// Package layotto is the door of Layotto's SDKs: the lock calls of its runtime, at the same names, with the same checks, and
// with keys that an SDK's program cannot tell from those of Layotto.
package layotto

import (
	"context"
	"errors"
	"time"

	"github.com/mortise-lock/mortise/component/instances"
	layottopb "github.com/mortise-lock/mortise/proto/spec/proto/runtime/v1"
	"github.com/mortise-lock/mortise/stores"
)

// Components are the lock stores that the door serves, by the names of their components. All methods are safe for
// concurrent use.
type Components interface {
	// Any tells whether there is one.
	Any() bool
	// KeyPrefix returns the component's metadata keyPrefix as it is written, or nothing if it has none. It tells whether there
	// is such a component; none has an empty name.
	KeyPrefix(component string) (prefix string, known bool)
	// Do calls fn with the component's store, and returns fn's error as it is. It fails with instances.ErrNotInitialized if
	// there is no such component.
	Do(ctx context.Context, component string, fn func(stores.Store) error) error
}

// Service serves Layotto's lock calls. It is safe for concurrent use.
type Service struct {
	layottopb.UnimplementedRuntimeServer
	appID      string
	components Components
}

// New returns a service whose locks are those of the app. Layotto's requests do not tell their app: a process is for one.
func New(appID string, components Components) *Service {
	return &Service{appID: appID, components: components}
}

// TryLock takes the lock if nobody holds it.
func (s *Service) TryLock(ctx context.Context, m *layottopb.TryLockRequest) (*layottopb.TryLockResponse, error) {
	ask, err := s.lease(m)
	if err != nil {
		return nil, err
	}
	var grant stores.Grant
	err = s.do(ctx, m, func(store stores.Store) (err error) {
		grant, err = store.TryLock(ctx, ask)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &layottopb.TryLockResponse{Success: grant.Acquired}, nil
}

// Unlock gives the lock back. That there is nothing to give back is a status and not an error.
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

// LockKeepAlive lets the owner's lock last for as long as the message says, from now. A lock that is gone stays so.
func (s *Service) LockKeepAlive(
	ctx context.Context, m *layottopb.LockKeepAliveRequest,
) (*layottopb.LockKeepAliveResponse, error) {
	ask, err := s.lease(m)
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
func (s *Service) lease(m timed) (stores.Request, error) {
	key, err := s.key(m)
	return stores.Request{Key: key, Owner: m.GetLockOwner(), TTL: time.Duration(m.GetExpire()) * time.Second}, err
}

// do calls fn with the message's store.
func (s *Service) do(ctx context.Context, m named, fn func(stores.Store) error) error {
	err := s.components.Do(ctx, m.GetStoreName(), fn)
	if errors.Is(err, instances.ErrNotInitialized) {
		return notFound(m)
	}
	return err
}

// outcome is a call's status, or its error if it is in no status. Errors go out as they are: gRPC makes them Unknown, or what
// the end of a context is, with their text.
func outcome(err error) (layottopb.UnlockResponse_Status, error) {
	switch {
	case errors.Is(err, stores.ErrNotHeld):
		return layottopb.UnlockResponse_LOCK_UNEXIST, nil
	case errors.Is(err, stores.ErrNotOwner):
		return layottopb.UnlockResponse_LOCK_BELONG_TO_OTHERS, nil
	}
	return layottopb.UnlockResponse_SUCCESS, err
}
