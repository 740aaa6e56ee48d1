// Package locks is the API of Mortise's own clients: everything about locks that Dapr's
// API has no words for.
package locks

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores"
)

// errWaited is why a call stops waiting that has waited for as long as it was asked to.
var errWaitElapsed = errors.New("waited long enough")

// Service serves the components of a set to clients that open none. It is safe for
// concurrent use.
type Service struct {
	lockspb.UnimplementedLocksServer
	components instances.Resolver
}

// New returns a service that uses the components.
func New(components instances.Resolver) *Service { return &Service{components: components} }

// TryLock takes the lock if nobody holds it and nobody waits for it.
func (s *Service) TryLock(ctx context.Context, m *lockspb.TryLockRequest) (*lockspb.LockResponse, error) {
	ask, err := request(m, m.GetMetadata(), nil)
	if err != nil {
		return nil, rpcstatus.Status(err)
	}
	return s.answer(ctx, m.GetStore(), func(store stores.Store) (stores.Grant, error) {
		grant, err := store.TryLock(ctx, ask)
		return stores.Keep(ctx, store, grant, err, ask.Owner, ask.Key)
	})
}

// Lock takes the lock, and waits for it. A client that is gone when its turn comes gets
// nothing.
func (s *Service) Lock(ctx context.Context, m *lockspb.LockRequest) (*lockspb.LockResponse, error) {
	ask, err := request(m, m.GetMetadata(), m.GetHolding())
	if err != nil {
		return nil, rpcstatus.Status(err)
	}
	wait, err := waitTime(m)
	if err != nil {
		return nil, rpcstatus.Status(err)
	}
	return s.answerLater(ctx, m.GetStore(), wait, func(waiting context.Context, store stores.Store) (stores.Grant, error) {
		grant, err := stores.Lock(waiting, store, ask)
		return stores.Keep(ctx, store, grant, err, ask.Owner, ask.Key)
	})
}

// LockAll takes all of several locks or none, and waits for them unless it shall only
// try.
func (s *Service) LockAll(ctx context.Context, m *lockspb.LockAllRequest) (*lockspb.LockResponse, error) {
	ask, err := multiRequest(m)
	if err != nil {
		return nil, rpcstatus.Status(err)
	}
	wait, err := waitTime(m)
	if err != nil {
		return nil, rpcstatus.Status(err)
	}
	lockAll := func(waiting context.Context, store stores.Store) (stores.Grant, error) {
		grant, err := stores.LockAll(waiting, store, ask)
		return stores.Keep(ctx, store, grant, err, ask.Owner, ask.Keys...)
	}
	if !ask.Wait {
		return s.answer(ctx, m.GetStore(), func(store stores.Store) (stores.Grant, error) { return lockAll(ctx, store) })
	}
	return s.answerLater(ctx, m.GetStore(), wait, lockAll)
}

// Renew lets the lock last for the TTL from now.
func (s *Service) Renew(ctx context.Context, m *lockspb.RenewRequest) (*lockspb.LockResponse, error) {
	ask, err := request(m, nil, nil)
	if err != nil {
		return nil, rpcstatus.Status(err)
	}
	return s.answer(ctx, m.GetStore(), func(store stores.Store) (stores.Grant, error) { return stores.Renew(ctx, store, ask) })
}

// Unlock gives the lock back.
func (s *Service) Unlock(ctx context.Context, m *lockspb.UnlockRequest) (*lockspb.UnlockResponse, error) {
	key, owner := m.GetKey(), m.GetOwner()
	if err := stores.ValidateKey(key, owner); err != nil {
		return nil, rpcstatus.Status(err)
	}
	err := s.do(ctx, m.GetStore(), func(store stores.Store) error { return store.Unlock(ctx, key, owner) })
	return &lockspb.UnlockResponse{}, rpcstatus.Status(err)
}

// Revoke takes the lock from the owner, or from whoever holds it if the owner is empty.
func (s *Service) Revoke(ctx context.Context, m *lockspb.RevokeRequest) (*lockspb.RevokeResponse, error) {
	key, owner := m.GetKey(), m.GetOwner()
	if err := validateKey(key, owner); err != nil {
		return nil, rpcstatus.Status(err)
	}
	err := s.do(ctx, m.GetStore(), func(store stores.Store) error { return stores.Revoke(ctx, store, key, owner) })
	return &lockspb.RevokeResponse{}, rpcstatus.Status(err)
}

// answer asks the component's store for a grant.
func (s *Service) answer(ctx context.Context, name string, ask func(stores.Store) (stores.Grant, error)) (*lockspb.LockResponse, error) {
	var grant stores.Grant
	err := s.do(ctx, name, func(store stores.Store) (err error) {
		grant, err = ask(store)
		return err
	})
	return response(grant), rpcstatus.Status(err)
}

// answerLater asks the component's store for a grant with a ctx that ends when wait has
// passed, if it is not zero, and when the store is to be closed.
func (s *Service) answerLater(
	ctx context.Context, name string, wait time.Duration, ask func(context.Context, stores.Store) (stores.Grant, error),
) (*lockspb.LockResponse, error) {
	var grant stores.Grant
	err := s.components.Wait(ctx, component(ctx, name), func(ctx context.Context, store stores.Store) (err error) {
		if wait > 0 {
			var stop context.CancelFunc
			ctx, stop = context.WithTimeoutCause(ctx, wait, errWaitElapsed)
			defer stop()
		}
		grant, err = ask(ctx, store)
		if errors.Is(err, context.DeadlineExceeded) && errors.Is(context.Cause(ctx), errWaitElapsed) {
			return nil // refused, which is an answer
		}
		return err
	})
	return response(grant), rpcstatus.Status(err)
}

// do calls fn with the component's store.
func (s *Service) do(ctx context.Context, name string, fn func(stores.Store) error) error {
	return s.components.Do(ctx, component(ctx, name), fn)
}

// component is the component that a call is for: what its message names, or else its
// header, or else none.
func component(ctx context.Context, name string) string {
	if name != "" {
		return name
	}
	if names := metadata.ValueFromIncomingContext(ctx, instances.Header); len(names) > 0 {
		return names[0]
	}
	return ""
}
