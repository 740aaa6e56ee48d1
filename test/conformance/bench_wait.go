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
	what string // the call, in the words of a problem
	stop context.CancelFunc

	done  chan struct{} // closed when the call has returned; what follows does not change after that
	grant stores.Grant
	err   error
	at    time.Time
}

// request returns a request for the lock called name.
func (b *bench) request(name, owner string, ttl time.Duration) stores.Request {
	return stores.Request{Key: b.key(name), Owner: owner, TTL: ttl}
}

// promptly is how soon the outcome of something must be told to those who wait for it. In
// a bubble, where no time passes while anybody is at work, that is at once. Elsewhere it
// is the second in which a lost push is made good, and what a slow machine adds. After a
// problem it is not worth while to wait for another.
func (b *bench) promptly() time.Duration {
	switch {
	case b.problem() != nil:
		return time.Millisecond
	case b.Bubble:
		return b.Slack + time.Nanosecond
	default:
		return b.Slack + 5*time.Second
	}
}

// within polls until cond holds, and tells whether it did so in time. It looks at least
// once.
func (b *bench) within(limit time.Duration, cond func() bool) bool {
	for end := time.Now().Add(limit); !cond(); time.Sleep(pollPause) {
		if !time.Now().Before(end) {
			return false
		}
	}
	return true
}

// start begins a call that may wait. It ends with the row at the latest.
func (s store) start(what string, call func(ctx context.Context) (stores.Grant, error)) *waiter {
	ctx, stop := context.WithCancel(s.b.ctx)
	w := &waiter{s: s, what: what, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.grant, w.err = call(ctx)
		w.at = time.Now()
	}()
	s.b.cleanup(func() {
		stop()
		w.returns(callLimit)
	})
	return w
}

// asks begins to ask for the lock, whether or not that means to wait.
func (s store) asks(name, owner string) *waiter { return s.asksFor(s.b.request(name, owner, lease)) }

func (s store) asksFor(req stores.Request) *waiter {
	what := fmt.Sprintf("Lock of %q by %q", s.b.name(req.Key), req.Owner)
	return s.start(what, func(ctx context.Context) (stores.Grant, error) { return stores.Lock(ctx, s.Store, req) })
}

// waits begins to wait for the lock, which is held, and returns when the store tells that
// somebody more waits.
func (s store) waits(name, owner string) *waiter { return s.waitsFor(s.b.request(name, owner, lease)) }

func (s store) waitsFor(req stores.Request) *waiter {
	return s.queues(func() *waiter { return s.asksFor(req) })
}

// queues expects the call that ask begins to wait, and returns when the store tells that
// somebody more waits. The call is let go if it took so long that a lock which the row
// has taken may have expired meanwhile.
func (s store) queues(ask func() *waiter) *waiter {
	before := s.queue("")
	w := ask()
	queued := s.b.within(s.b.promptly()+pollPause, func() bool { return w.returned() || s.queue("") > before })
	switch {
	case s.b.lapsed():
	case w.returned():
		s.b.failf("%s did not wait: %v", w.what, w.err)
	case !queued:
		s.b.failf("%s is not among those who wait", w.what)
	}
	return w
}

// queue returns how many wait for held locks under the prefix, each counted for each lock
// that it waits for.
func (s store) queue(prefix string) (waiters int) {
	for _, l := range s.list(prefix) {
		waiters += l.Waiters
	}
	return waiters
}

// returned tells whether the call is over.
func (w *waiter) returned() bool { return w.returns(0) }

// returns waits for the call to be over, and tells whether it is.
func (w *waiter) returns(limit time.Duration) bool {
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
func (w *waiter) stays() {
	if w.returned() {
		w.s.b.failf("%s waits no more: %v", w.what, w.err)
	}
}

// gets expects the lock to be granted now that nothing is in the way.
func (w *waiter) gets() stores.Grant {
	if !w.returns(w.s.b.promptly()) {
		w.s.b.failf("%s did not end, though nothing was in the way", w.what)
		return stores.Grant{}
	}
	switch {
	case w.err != nil:
		w.s.b.failf("%s failed: %v", w.what, w.err)
	case !w.grant.Acquired:
		w.s.b.failf("%s ended neither with a grant nor with an error", w.what)
	}
	return w.grant
}

// fails expects the call to fail with the outcome want now, and with nothing granted.
func (w *waiter) fails(want error) {
	if !w.returns(w.s.b.promptly()) {
		w.s.b.failf("%s did not end, want %v", w.what, want)
		return
	}
	w.s.b.want(errors.Is(w.err, want), "%s returned %v, want %v", w.what, w.err, want)
	w.s.b.want(w.grant == stores.Grant{}, "%s failed and granted %+v", w.what, w.grant)
}

// leaves ends the ctx of a call that waits for a lock which stays held, and expects it to
// be gone.
func (w *waiter) leaves() {
	before := w.s.queue("")
	w.stop()
	w.fails(context.Canceled)
	gone := w.s.b.within(w.s.b.Settle, func() bool { return w.s.queue("") < before })
	w.s.b.want(gone, "%s was given up and is still among those who wait", w.what)
}

// lockAll is LockAll within the bounds of the bench.
func (s store) lockAll(owner string, ttl time.Duration, names ...string) (stores.Grant, error) {
	ctx, cancel := s.b.limited()
	defer cancel()
	return stores.LockAll(ctx, s.Store, stores.MultiRequest{Keys: s.b.keys(names), Owner: owner, TTL: ttl})
}

// grantsAll expects all of the locks to be given to owner, for longer than the row lasts.
func (s store) grantsAll(owner string, names ...string) stores.Grant {
	return s.grantsAllFor(owner, lease, names...)
}

// grantsAllFor expects all of the locks to be given to owner for ttl.
func (s store) grantsAllFor(owner string, ttl time.Duration, names ...string) stores.Grant {
	g, err := s.lockAll(owner, ttl, names...)
	switch {
	case err != nil:
		s.b.failf("LockAll of %.99q by %q failed: %v", names, owner, err)
	case !g.Acquired:
		s.b.failf("LockAll of %.99q by %q was refused", names, owner)
	default:
		s.b.holds(g)
	}
	return g
}

// refusesAll expects one of the locks to be in the way, and an answer that carries
// nothing.
func (s store) refusesAll(owner string, names ...string) {
	g, err := s.lockAll(owner, lease, names...)
	s.b.want(err == nil, "LockAll of %q by %q failed instead of being refused: %v", names, owner, err)
	s.b.want(g == stores.Grant{}, "LockAll of %q by %q returned %+v", names, owner, g)
}

// asksAll begins to ask for all of the locks, whether or not that means to wait.
func (s store) asksAll(owner string, names ...string) *waiter {
	return s.asksAllFor(stores.MultiRequest{Keys: s.b.keys(names), Owner: owner, TTL: lease})
}

func (s store) asksAllFor(req stores.MultiRequest) *waiter {
	req.Wait = true
	what := fmt.Sprintf("LockAll of %d locks by %q", len(req.Keys), req.Owner)
	return s.start(what, func(ctx context.Context) (stores.Grant, error) { return stores.LockAll(ctx, s.Store, req) })
}

// waitsAll begins to wait for the locks, of which one is held, and returns when the store
// tells that somebody more waits.
func (s store) waitsAll(owner string, names ...string) *waiter {
	return s.queues(func() *waiter { return s.asksAll(owner, names...) })
}

// revoke is Revoke within the bounds of the bench.
func (s store) revoke(name, owner string) error {
	ctx, cancel := s.b.limited()
	defer cancel()
	return stores.Revoke(ctx, s.Store, s.b.key(name), owner)
}

// revokes expects the lock to be taken from owner, or from whoever holds it.
func (s store) revokes(name, owner string) {
	if err := s.revoke(name, owner); err != nil {
		s.b.failf("Revoke of %q from %q failed: %v", name, owner, err)
	}
}

// spares expects Revoke to fail with the outcome want.
func (s store) spares(name, owner string, want error) {
	if err := s.revoke(name, owner); !errors.Is(err, want) {
		s.b.failf("Revoke of %q from %q returned %v, want %v", name, owner, err, want)
	}
}
