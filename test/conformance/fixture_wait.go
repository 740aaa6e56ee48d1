package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// waiter is a Lock or a LockAll under way.
type waiter struct {
	s    store
	call string // the call, in the words of a problem
	stop context.CancelFunc

	done  chan struct{} // closed when the call has returned; what follows does not change after that
	grant stores.Grant
	err   error
	at    time.Time
}

// request returns a request for the lock called name.
func (f *fixture) request(name, owner string, ttl time.Duration) stores.Request {
	return stores.Request{Key: f.key(name), Owner: owner, TTL: ttl}
}

// promptly is how soon the outcome of something must be told to those who wait for it. In
// a bubble, where no time passes while anybody is at work, that is at once. Elsewhere it
// is the second in which a lost push is made good, and what a slow machine adds. After a
// problem it is not worth while to wait for another.
func (f *fixture) promptLimit() time.Duration {
	switch {
	case f.err() != nil:
		return time.Millisecond
	case f.Bubble:
		return f.Slack + time.Nanosecond
	default:
		return f.Slack + 5*time.Second
	}
}

// within polls until cond holds, and tells whether it did so in time. It looks at least
// once.
func (f *fixture) eventually(limit time.Duration, cond func() bool) bool {
	for end := time.Now().Add(limit); !cond(); time.Sleep(pollInterval) {
		if !time.Now().Before(end) {
			return false
		}
	}
	return true
}

// start begins a call that may wait. It ends with the row at the latest.
func (s store) start(what string, call func(ctx context.Context) (stores.Grant, error)) *waiter {
	ctx, stop := context.WithCancel(s.f.ctx)
	w := &waiter{s: s, call: what, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.grant, w.err = call(ctx)
		w.at = time.Now()
	}()
	s.f.cleanup(func() {
		stop()
		w.waitReturn(callTimeout)
	})
	return w
}

// asks begins to ask for the lock, whether or not that means to wait.
func (s store) startLock(name, owner string) *waiter {
	return s.startLockRequest(s.f.request(name, owner, lease))
}

func (s store) startLockRequest(req stores.Request) *waiter {
	what := fmt.Sprintf("Lock of %q by %q", s.f.name(req.Key), req.Owner)
	return s.start(what, func(ctx context.Context) (stores.Grant, error) { return stores.Lock(ctx, s.Store, req) })
}

// waits begins to wait for the lock, which is held, and returns when the store tells that
// somebody more waits.
func (s store) startWait(name, owner string) *waiter {
	return s.startWaitRequest(s.f.request(name, owner, lease))
}

func (s store) startWaitRequest(req stores.Request) *waiter {
	return s.mustQueue(func() *waiter { return s.startLockRequest(req) })
}

// queues expects the call that ask begins to wait, and returns when the store tells that
// somebody more waits. The call is let go if it took so long that a lock which the row
// has taken may have expired meanwhile.
func (s store) mustQueue(ask func() *waiter) *waiter {
	before := s.waiterCount("")
	w := ask()
	queued := s.f.eventually(s.f.promptLimit()+pollInterval, func() bool { return w.returned() || s.waiterCount("") > before })
	switch {
	case s.f.mayHaveExpired():
	case w.returned():
		s.f.failf("%s did not wait: %v", w.call, w.err)
	case !queued:
		s.f.failf("%s is not among those who wait", w.call)
	}
	return w
}

// queue returns how many wait for held locks under the prefix, each counted for each lock
// that it waits for.
func (s store) waiterCount(prefix string) (waiters int) {
	for _, l := range s.list(prefix) {
		waiters += l.Waiters
	}
	return waiters
}

// returned tells whether the call is over.
func (w *waiter) returned() bool { return w.waitReturn(0) }

// returns waits for the call to be over, and tells whether it is.
func (w *waiter) waitReturn(limit time.Duration) bool {
	select {
	case <-w.done:
		return true
	default:
	}
	if limit == 0 {
		return false
	}
	select {
	case <-w.done:
		return true
	case <-time.After(limit):
		return false
	}
}

// stays expects the call to wait still.
func (w *waiter) mustStillWait() {
	if w.returned() {
		w.s.f.failf("%s waits no more: %v", w.call, w.err)
	}
}

// gets expects the lock to be granted now that nothing is in the way.
func (w *waiter) mustGet() stores.Grant {
	if !w.waitReturn(w.s.f.promptLimit()) {
		w.s.f.failf("%s did not end, though nothing was in the way", w.call)
		return stores.Grant{}
	}
	switch {
	case w.err != nil:
		w.s.f.failf("%s failed: %v", w.call, w.err)
	case !w.grant.Acquired:
		w.s.f.failf("%s ended neither with a grant nor with an error", w.call)
	}
	return w.grant
}

// fails expects the call to fail with the outcome want now, and with nothing granted.
func (w *waiter) mustFail(want error) {
	if !w.waitReturn(w.s.f.promptLimit()) {
		w.s.f.failf("%s did not end, want %v", w.call, want)
		return
	}
	w.s.f.want(errors.Is(w.err, want), "%s returned %v, want %v", w.call, w.err, want)
	w.s.f.want(w.grant == stores.Grant{}, "%s failed and granted %+v", w.call, w.grant)
}

// leaves ends the ctx of a call that waits for a lock which stays held, and expects it to
// be gone.
func (w *waiter) mustCancel() {
	before := w.s.waiterCount("")
	w.stop()
	w.mustFail(context.Canceled)
	gone := w.s.f.eventually(w.s.f.Settle, func() bool { return w.s.waiterCount("") < before })
	w.s.f.want(gone, "%s was given up and is still among those who wait", w.call)
}

// lockAll is LockAll within the bounds of the bench.
func (s store) lockAll(owner string, ttl time.Duration, names ...string) (stores.Grant, error) {
	ctx, cancel := s.f.callContext()
	defer cancel()
	return stores.LockAll(ctx, s.Store, stores.MultiRequest{Keys: s.f.keys(names), Owner: owner, TTL: ttl})
}

// grantsAll expects all of the locks to be given to owner, for longer than the row lasts.
func (s store) mustLockAll(owner string, names ...string) stores.Grant {
	return s.mustLockAllFor(owner, lease, names...)
}

// grantsAllFor expects all of the locks to be given to owner for ttl.
func (s store) mustLockAllFor(owner string, ttl time.Duration, names ...string) stores.Grant {
	g, err := s.lockAll(owner, ttl, names...)
	switch {
	case err != nil:
		s.f.failf("LockAll of %.99q by %q failed: %v", names, owner, err)
	case !g.Acquired:
		s.f.failf("LockAll of %.99q by %q was refused", names, owner)
	default:
		s.f.noteGrant(g)
	}
	return g
}

// refusesAll expects one of the locks to be in the way, and an answer that carries
// nothing.
func (s store) mustRefuseAll(owner string, names ...string) {
	g, err := s.lockAll(owner, lease, names...)
	s.f.want(err == nil, "LockAll of %q by %q failed instead of being refused: %v", names, owner, err)
	s.f.want(g == stores.Grant{}, "LockAll of %q by %q returned %+v", names, owner, g)
}

// asksAll begins to ask for all of the locks, whether or not that means to wait.
func (s store) startLockAll(owner string, names ...string) *waiter {
	return s.startLockAllRequest(stores.MultiRequest{Keys: s.f.keys(names), Owner: owner, TTL: lease})
}

func (s store) startLockAllRequest(req stores.MultiRequest) *waiter {
	req.Wait = true
	what := fmt.Sprintf("LockAll of %d locks by %q", len(req.Keys), req.Owner)
	return s.start(what, func(ctx context.Context) (stores.Grant, error) { return stores.LockAll(ctx, s.Store, req) })
}

// waitsAll begins to wait for the locks, of which one is held, and returns when the store
// tells that somebody more waits.
func (s store) startWaitAll(owner string, names ...string) *waiter {
	return s.mustQueue(func() *waiter { return s.startLockAll(owner, names...) })
}

// revoke is Revoke within the bounds of the bench.
func (s store) revoke(name, owner string) error {
	ctx, cancel := s.f.callContext()
	defer cancel()
	return stores.Revoke(ctx, s.Store, s.f.key(name), owner)
}

// revokes expects the lock to be taken from owner, or from whoever holds it.
func (s store) mustRevoke(name, owner string) {
	if err := s.revoke(name, owner); err != nil {
		s.f.failf("Revoke of %q from %q failed: %v", name, owner, err)
	}
}

// spares expects Revoke to fail with the outcome want.
func (s store) revokeFails(name, owner string, want error) {
	if err := s.revoke(name, owner); !errors.Is(err, want) {
		s.f.failf("Revoke of %q from %q returned %v, want %v", name, owner, err, want)
	}
}
