package rtm

import (
	"context"
	"errors"
	"sync"

	"github.com/mortise-lock/mortise/component/rtm/presence"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

// AcquireLock makes the user the owner of the lock. With retry it waits for the lock if
// another owner holds it.
func (s *Service) AcquireLock(ctx context.Context, m *rtmpb.AcquireLockRequest) (*rtmpb.LockResponse, error) {
	return s.runOnLock(ctx, "RTMAcquireOperation", m, func(u presence.User, l presence.Lock) (*rtmpb.LockResponse, error) {
		acquire := s.tryAcquire
		if m.GetRetry() {
			acquire = s.waitAcquire
		}
		grant, err := acquire(ctx, u, l)
		if err == nil && !grant.Acquired {
			err = errHeld
		}
		return &rtmpb.LockResponse{Ttl: presence.Seconds(grant.TTL), LockRev: grant.Token}, err
	})
}

func (s *Service) tryAcquire(ctx context.Context, u presence.User, l presence.Lock) (grant stores.Grant, err error) {
	err = s.do(ctx, u, func(bounded context.Context, store stores.Store) error {
		grant, err = stores.TryLock(bounded, store, storeRequest(u, l))
		return s.recordGrant(u, l, grant, err)
	})
	return grant, err
}

func (s *Service) waitAcquire(ctx context.Context, u presence.User, l presence.Lock) (grant stores.Grant, err error) {
	ctx, done := s.waiting.add(ctx, u)
	defer done()
	err = s.components.Wait(ctx, u.Store.Name(), func(waiting context.Context, store stores.Store) error {
		grant, err = stores.Lock(waiting, store, storeRequest(u, l))
		return s.recordGrant(u, l, grant, err)
	})
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), errLoggedOut) {
		err = errLoggedOut
	}
	return grant, err
}

// storeRequest returns the store's request for the user and the lock.
func storeRequest(u presence.User, l presence.Lock) stores.Request {
	return stores.Request{Key: l.Key(), Group: l.Group(), Owner: u.Name}
}

// recordGrant makes presence renew the lock if it was granted. It returns err.
func (s *Service) recordGrant(u presence.User, l presence.Lock, grant stores.Grant, err error) error {
	if err == nil && grant.Acquired {
		s.presence.AddGrant(u, l, grant)
	}
	return err
}

// waitingCalls are the calls that wait for locks, by user. A logout of the user cancels
// them. It is safe for concurrent use.
type waitingCalls struct {
	mu    sync.Mutex
	calls map[presence.User]map[*context.CancelCauseFunc]struct{} // no inner map is empty
}

func newWaitingCalls() *waitingCalls {
	return &waitingCalls{calls: map[presence.User]map[*context.CancelCauseFunc]struct{}{}}
}

// add adds a call, which must call done when it has ended. The ctx that it returns is
// canceled with errLoggedOut as its cause when the user logs out.
func (w *waitingCalls) add(ctx context.Context, u presence.User) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls[u] == nil {
		w.calls[u] = map[*context.CancelCauseFunc]struct{}{}
	}
	w.calls[u][&cancel] = struct{}{}
	return ctx, func() {
		cancel(nil)
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.calls[u], &cancel); len(w.calls[u]) == 0 {
			delete(w.calls, u)
		}
	}
}

// cancel cancels the calls of a user.
func (w *waitingCalls) cancel(u presence.User) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for cancel := range w.calls[u] {
		(*cancel)(errLoggedOut)
	}
}
