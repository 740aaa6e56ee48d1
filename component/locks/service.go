// Package locks is the API for Mortise's own clients. It has all operations on locks,
// including those that Dapr's API does not have, except those on declared locks.
package locks

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores"
)

// errWaitElapsed is the cause when a call has waited for as long as its request says.
var errWaitElapsed = errors.New("wait time has elapsed")

// Service serves the components of a set. It does not open components. It is safe for
// concurrent use.
type Service struct {
	lockspb.UnimplementedLocksServer
	components instances.Resolver
}

// New returns a service that uses the components.
func New(components instances.Resolver) *Service { return &Service{components: components} }

// TryLock acquires the lock if it is free and has no waiters.
func (s *Service) TryLock(ctx context.Context, m *lockspb.TryLockRequest) (*lockspb.LockResponse, error) {
	req, err := request(m, m.GetMetadata(), nil)
	if err != nil {
		return nil, rpcstatus.Status(err)
	}
	return s.respond(ctx, m.GetStore(), func(store stores.Store) (stores.Grant, error) {
		return stores.TryLock(ctx, store, req)
	})
}

// Lock acquires the lock, and waits for it. If the caller cancels before it receives the
// grant, the lock is released again.
func (s *Service) Lock(ctx context.Context, m *lockspb.LockRequest) (*lockspb.LockResponse, error) {
	req, err := request(m, m.GetMetadata(), m.GetHolding())
	if err != nil {
		return nil, rpcstatus.Status(err)
	}
	wait, err := waitTime(m)
	if err != nil {
		return nil, rpcstatus.Status(err)
	}
	return s.respondAfterWait(ctx, m.GetStore(), wait, func(waiting context.Context, store stores.Store) (stores.Grant, error) {
		return stores.Lock(waiting, store, req)
	})
}

// LockAll acquires all of several locks or none. It waits for them unless the request
// sets try.
func (s *Service) LockAll(ctx context.Context, m *lockspb.LockAllRequest) (*lockspb.LockResponse, error) {
	req, err := multiRequest(m)
	if err != nil {
		return nil, rpcstatus.Status(err)
	}
	wait, err := waitTime(m)
	if err != nil {
		return nil, rpcstatus.Status(err)
	}
	lockAll := func(waiting context.Context, store stores.Store) (stores.Grant, error) {
		return stores.LockAll(waiting, store, req)
	}
	if !req.Wait {
		return s.respond(ctx, m.GetStore(), func(store stores.Store) (stores.Grant, error) { return lockAll(ctx, store) })
	}
	return s.respondAfterWait(ctx, m.GetStore(), wait, lockAll)
}

// Renew sets the lock's remaining time to the TTL.
func (s *Service) Renew(ctx context.Context, m *lockspb.RenewRequest) (*lockspb.LockResponse, error) {
	req, err := request(m, nil, nil)
	if err != nil {
		return nil, rpcstatus.Status(err)
	}
	return s.respond(ctx, m.GetStore(), func(store stores.Store) (stores.Grant, error) { return stores.Renew(ctx, store, req) })
}

// Unlock releases the lock.
func (s *Service) Unlock(ctx context.Context, m *lockspb.UnlockRequest) (*lockspb.UnlockResponse, error) {
	key, owner := m.GetKey(), m.GetOwner()
	if err := stores.ValidateKey(key, owner); err != nil {
		return nil, rpcstatus.Status(err)
	}
	err := s.do(ctx, m.GetStore(), func(store stores.Store) error { return stores.Unlock(ctx, store, key, owner) })
	return &lockspb.UnlockResponse{}, rpcstatus.Status(err)
}

// Revoke forcibly releases the owner's lock, or any owner's if the owner is empty.
func (s *Service) Revoke(ctx context.Context, m *lockspb.RevokeRequest) (*lockspb.RevokeResponse, error) {
	key, owner := m.GetKey(), m.GetOwner()
	if err := validateKey(key, owner); err != nil {
		return nil, rpcstatus.Status(err)
	}
	err := s.do(ctx, m.GetStore(), func(store stores.Store) error { return stores.Revoke(ctx, store, key, owner) })
	return &lockspb.RevokeResponse{}, rpcstatus.Status(err)
}

// respond returns the grant that call returns for the component's store.
func (s *Service) respond(ctx context.Context, name string, call func(stores.Store) (stores.Grant, error)) (*lockspb.LockResponse, error) {
	grant, err := instances.Call(ctx, s.components, component(ctx, name), call)
	return response(grant), rpcstatus.Status(err)
}

// respondAfterWait is respond for calls that wait. The ctx of call ends when wait has
// elapsed, if it is not zero, and when the store is about to close.
func (s *Service) respondAfterWait(
	ctx context.Context, name string, wait time.Duration, call func(context.Context, stores.Store) (stores.Grant, error),
) (*lockspb.LockResponse, error) {
	var grant stores.Grant
	err := s.components.Wait(ctx, component(ctx, name), func(ctx context.Context, store stores.Store) (err error) {
		if wait > 0 {
			var stop context.CancelFunc
			ctx, stop = context.WithTimeoutCause(ctx, wait, errWaitElapsed)
			defer stop()
		}
		grant, err = call(ctx, store)
		if errors.Is(err, context.DeadlineExceeded) && errors.Is(context.Cause(ctx), errWaitElapsed) {
			return nil // refused, which is a result
		}
		return err
	})
	return response(grant), rpcstatus.Status(err)
}

// do calls fn with the component's store.
func (s *Service) do(ctx context.Context, name string, fn func(stores.Store) error) error {
	return s.components.Do(ctx, component(ctx, name), fn)
}

// component returns the name of the component that a call is for: the one in its message,
// or else in its header, or else "".
func component(ctx context.Context, name string) string {
	return cmp.Or(name, instances.NameFromHeader(ctx))
}
