package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// waiter is a Lock or LockAll in progress.
type waiter struct {
	s    store
	call string // describes the call in failures
	stop context.CancelFunc

	done  chan struct{} // closed when the call has returned, and the fields below are set
	grant stores.Grant
	err   error
	at    time.Time
}

// request returns a request for the lock called name.
func (f *fixture) request(name, owner string, ttl time.Duration) stores.Request {
	return stores.Request{Key: f.key(name), Owner: owner, TTL: ttl}
}

// promptLimit is how soon a waiter must be notified. In a bubble, where time passes only
// while all goroutines block, that is immediately. Elsewhere it is the second after which
// a store recovers from a lost notification, plus a margin for slow machines. After a
// failure it is short, because the row has failed anyway.
func (f *fixture) promptLimit() time.Duration {
	switch {
	case f.err() != nil:
		return time.Millisecond
	case f.Bubble:
		return f.Slack + time.Nanosecond
	default:
		return f.Slack + cmp.Or(f.margin, 5*time.Second)
	}
}

// eventually polls until cond returns true, at least once, and reports whether it did
// within the limit.
func (f *fixture) eventually(limit time.Duration, cond func() bool) bool {
	for end := time.Now().Add(limit); !cond(); time.Sleep(pollInterval) {
		if !time.Now().Before(end) {
			return false
		}
	}
	return true
}

// start starts a call that may wait. The call is canceled when the row ends.
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

// startLock starts a Lock, whether or not it has to wait.
func (s store) startLock(name, owner string) *waiter {
	return s.startLockRequest(s.f.request(name, owner, lease))
}

func (s store) startLockRequest(req stores.Request) *waiter {
	what := fmt.Sprintf("Lock of %q by %q", s.f.name(req.Key), req.Owner)
	return s.start(what, func(ctx context.Context) (stores.Grant, error) { return stores.Lock(ctx, s.Store, req) })
}

// startWait starts a Lock of a held lock, and returns once the store reports another
// waiter.
func (s store) startWait(name, owner string) *waiter {
	return s.startWaitRequest(s.f.request(name, owner, lease))
}

func (s store) startWaitRequest(req stores.Request) *waiter {
	return s.mustQueue(func() *waiter { return s.startLockRequest(req) })
}

// mustQueue expects the call that ask starts to wait, and returns once the store reports
// another waiter. It accepts any outcome if one of the row's locks may have expired
// meanwhile.
func (s store) mustQueue(ask func() *waiter) *waiter {
	before := s.waiterCount("")
	w := ask()
	queued := s.f.eventually(s.f.promptLimit()+pollInterval, func() bool { return w.returned() || s.waiterCount("") > before })
	switch {
	case s.f.mayHaveExpired():
	case w.returned():
		s.f.failf("%s did not wait: %v", w.call, w.err)
	case !queued:
		s.f.failf("%s is not counted as a waiter", w.call)
	}
	return w
}

// waiterCount returns the number of waiters for the held locks under the prefix. A call
// that waits for several locks counts once for each.
func (s store) waiterCount(prefix string) (waiters int) {
	for _, l := range s.list(prefix) {
		waiters += l.Waiters
	}
	return waiters
}

// returned reports whether the call has returned.
func (w *waiter) returned() bool { return w.waitReturn(0) }

// waitReturn waits for the call to return, and reports whether it has.
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

// mustStillWait expects the call not to have returned.
func (w *waiter) mustStillWait() {
	if w.returned() {
		w.s.f.failf("%s no longer waits: %v", w.call, w.err)
	}
}

// mustGet expects the call to be granted the lock promptly.
func (w *waiter) mustGet() stores.Grant {
	if !w.waitReturn(w.s.f.promptLimit()) {
		w.s.f.failf("%s did not return, although the lock is available", w.call)
		return stores.Grant{}
	}
	switch {
	case w.err != nil:
		w.s.f.failf("%s failed: %v", w.call, w.err)
	case !w.grant.Acquired:
		w.s.f.failf("%s returned neither a grant nor an error", w.call)
	}
	return w.grant
}

// mustFail expects the call to fail promptly with want and to return no grant.
func (w *waiter) mustFail(want error) {
	if !w.waitReturn(w.s.f.promptLimit()) {
		w.s.f.failf("%s did not return, want %v", w.call, want)
		return
	}
	w.s.f.want(errors.Is(w.err, want), "%s returned %v, want %v", w.call, w.err, want)
	w.s.f.want(w.grant == stores.Grant{}, "%s failed with a grant: %+v", w.call, w.grant)
}

// mustCancel cancels a call that waits for a held lock, and expects it to leave the
// queue.
func (w *waiter) mustCancel() {
	before := w.s.waiterCount("")
	w.stop()
	w.mustFail(context.Canceled)
	left := w.s.f.eventually(w.s.f.Settle, func() bool { return w.s.waiterCount("") < before })
	w.s.f.want(left, "%s was canceled and is still counted as a waiter", w.call)
}

// lockAll calls LockAll with a timeout.
func (s store) lockAll(owner string, ttl time.Duration, names ...string) (stores.Grant, error) {
	ctx, cancel := s.f.callContext()
	defer cancel()
	return stores.LockAll(ctx, s.Store, stores.MultiRequest{Keys: s.f.keys(names), Owner: owner, TTL: ttl})
}

// mustLockAll expects LockAll to grant all locks to owner, for longer than the row takes.
func (s store) mustLockAll(owner string, names ...string) stores.Grant {
	return s.mustLockAllFor(owner, lease, names...)
}

// mustLockAllFor expects LockAll to grant all locks to owner for ttl.
func (s store) mustLockAllFor(owner string, ttl time.Duration, names ...string) stores.Grant {
	sent := time.Now()
	g, err := s.lockAll(owner, ttl, names...)
	switch {
	case err != nil:
		s.f.failf("LockAll of %.99q by %q failed: %v", names, owner, err)
	case !g.Acquired:
		s.f.failf("LockAll of %.99q by %q was refused", names, owner)
	default:
		s.f.noteLease(sent, ttl, s.f.keys(names)...)
	}
	return g
}

// mustRefuseAll expects LockAll to be refused with an empty grant because one of the
// locks is held.
func (s store) mustRefuseAll(owner string, names ...string) {
	g, err := s.lockAll(owner, lease, names...)
	s.f.want(err == nil, "LockAll of %q by %q failed instead of being refused: %v", names, owner, err)
	s.f.want(g == stores.Grant{}, "LockAll of %q by %q returned %+v", names, owner, g)
}

// startLockAll starts a LockAll, whether or not it has to wait.
func (s store) startLockAll(owner string, names ...string) *waiter {
	return s.startLockAllRequest(stores.MultiRequest{Keys: s.f.keys(names), Owner: owner, TTL: lease})
}

func (s store) startLockAllRequest(req stores.MultiRequest) *waiter {
	req.Wait = true
	what := fmt.Sprintf("LockAll of %d locks by %q", len(req.Keys), req.Owner)
	return s.start(what, func(ctx context.Context) (stores.Grant, error) { return stores.LockAll(ctx, s.Store, req) })
}

// startWaitAll starts a LockAll of locks of which one is held, and returns once the store
// reports another waiter.
func (s store) startWaitAll(owner string, names ...string) *waiter {
	return s.mustQueue(func() *waiter { return s.startLockAll(owner, names...) })
}

// revoke calls Revoke with a timeout.
func (s store) revoke(name, owner string) error {
	ctx, cancel := s.f.callContext()
	defer cancel()
	err := stores.Revoke(ctx, s.Store, s.f.key(name), owner)
	if err == nil {
		s.f.noteEnd(name)
	}
	return err
}

// mustRevoke expects Revoke to succeed. The empty owner stands for any holder.
func (s store) mustRevoke(name, owner string) {
	if err := s.revoke(name, owner); err != nil {
		s.f.failf("Revoke of %q from %q failed: %v", name, owner, err)
	}
}

// revokeFails expects Revoke to fail with want.
func (s store) revokeFails(name, owner string, want error) {
	if err := s.revoke(name, owner); !errors.Is(err, want) {
		s.f.failf("Revoke of %q from %q returned %v, want %v", name, owner, err, want)
	}
}
