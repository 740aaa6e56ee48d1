package conformance

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// watcher is a Watch in progress. It buffers the events until the row reads them, without
// those of other rows.
type watcher struct {
	s      store
	prefix string
	stop   context.CancelFunc

	done chan struct{} // closed when Watch has returned; err does not change after that
	err  error

	mu         sync.Mutex
	events     []stores.Event
	notify     chan struct{} // has one element if events has grown
	delivering bool
}

// mustWatch starts to watch the locks under the prefix, and expects a snapshot of exactly
// the locks in held.
func (s store) mustWatch(prefix string, held ...stores.LockInfo) *watcher {
	w := s.startWatch(s.f.key(prefix), nil)
	w.mustSnapshot(false, held...)
	return w
}

// startWatch starts to watch the locks whose keys start with prefix. The callback passes
// each event to hook, if there is one.
func (s store) startWatch(prefix string, hook func(stores.Event) error) *watcher {
	ctx, stop := context.WithCancel(s.f.ctx)
	w := &watcher{s: s, prefix: s.f.name(prefix), stop: stop, done: make(chan struct{}), notify: make(chan struct{}, 1)}
	go func() {
		defer close(w.done)
		w.err = stores.Watch(ctx, s.Store, prefix, func(e stores.Event) error { return w.deliver(e, hook) })
	}()
	s.f.cleanup(func() {
		stop()
		w.waitReturn(callTimeout)
	})
	return w
}

// deliver buffers an event. It is the callback of Watch.
func (w *watcher) deliver(e stores.Event, hook func(stores.Event) error) error {
	w.beginDelivery()
	defer w.endDelivery()
	if e.Kind == stores.EventSnapshot || strings.HasPrefix(e.Lock.Key, w.s.f.prefix) {
		w.buffer(e)
	}
	if hook != nil {
		return hook(e)
	}
	return nil
}

func (w *watcher) buffer(e stores.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	select {
	case w.notify <- struct{}{}:
	default:
	}
}

func (w *watcher) beginDelivery() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.s.f.want(!w.delivering, "the callback was called concurrently")
	w.delivering = true
}

func (w *watcher) endDelivery() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delivering = false
}

// waitReturn waits for Watch to return, and reports whether it has.
func (w *watcher) waitReturn(limit time.Duration) bool {
	select {
	case <-w.done:
		return true
	case <-time.After(limit):
		return false
	}
}

// next returns the next event, with the row's names. If there is none, it records a
// failure and returns an empty event.
func (w *watcher) next() stores.Event {
	limit := time.After(w.s.f.promptLimit())
	for {
		if e, ok := w.pop(); ok {
			return w.s.f.normalizeEvent(e)
		}
		select {
		case <-w.notify:
		case <-w.done:
			if e, ok := w.pop(); ok {
				return w.s.f.normalizeEvent(e)
			}
			w.s.f.failf("Watch of %q returned: %v", w.prefix, w.err)
			return stores.Event{}
		case <-limit:
			w.s.f.failf("Watch of %q sent no event", w.prefix)
			return stores.Event{}
		}
	}
}

func (w *watcher) pop() (stores.Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) == 0 {
		return stores.Event{}, false
	}
	e := w.events[0]
	w.events = w.events[1:]
	return e, true
}

// normalizeEvent returns the event with the row's names and without fields that have no
// meaning in it.
func (f *fixture) normalizeEvent(e stores.Event) stores.Event {
	e.Lock = f.normalizeLock(e.Lock)
	if e.Kind != stores.EventDeclared && e.Kind != stores.EventWithdrawn {
		e.Lock.DeclaredTTL = 0
	}
	e.Locks = f.ownLocks(e.Locks)
	for i, l := range e.Locks {
		e.Locks[i] = f.normalizeLock(l)
	}
	return e
}

// normalizeLock returns a lock as rows expect it in an event.
func (f *fixture) normalizeLock(l stores.LockInfo) stores.LockInfo {
	l.Key, l.Remaining, l.Waiters = f.name(l.Key), 0, 0
	if len(l.Metadata) == 0 {
		l.Metadata = nil
	}
	return l
}

// mustSnapshot expects a snapshot of exactly the locks in held.
func (w *watcher) mustSnapshot(missed bool, held ...stores.LockInfo) {
	e := w.next()
	w.s.f.want(e.Kind == stores.EventSnapshot && e.Missed == missed && reflect.DeepEqual(e.Lock, stores.LockInfo{}),
		"Watch of %q sent %+v, want a snapshot with Missed %v", w.prefix, e, missed)
	w.s.f.want(len(e.Locks) == len(held) && (len(held) == 0 || reflect.DeepEqual(e.Locks, held)),
		"the snapshot of %q has %+v, want %+v", w.prefix, e.Locks, held)
}

// mustSee expects exactly this event next.
func (w *watcher) mustSee(kind stores.EventKind, want stores.LockInfo) {
	e := w.next()
	w.s.f.want(e.Kind == kind && reflect.DeepEqual(e.Lock, want) && e.Locks == nil && !e.Missed,
		"Watch of %q sent %v of %+v, want %v of %+v", w.prefix, e.Kind, e.Lock, kind, want)
}

// mustBeIdle expects no events so far. To find out, it acquires and releases a lock.
func (w *watcher) mustBeIdle() {
	name := w.prefix + "\x7fend"
	l := heldLock(name, "end", w.s.mustLock(name, "end"))
	w.mustSee(stores.EventAcquired, l)
	w.s.mustUnlock(name, "end")
	w.mustSee(stores.EventReleased, l)
}

// mustFail expects Watch to return want promptly.
func (w *watcher) mustFail(want error) {
	if !w.waitReturn(w.s.f.promptLimit()) {
		w.s.f.failf("Watch of %q did not return, want %v", w.prefix, want)
		return
	}
	w.s.f.want(errors.Is(w.err, want), "Watch of %q returned %v, want %v", w.prefix, w.err, want)
}

// heldLock returns the LockInfo that events carry for a granted lock.
func heldLock(name, owner string, g stores.Grant) stores.LockInfo {
	return stores.LockInfo{Key: name, Owner: owner, TTL: lease, Token: g.Token}
}

// replay is the state that a watcher reconstructs from its events.
type replay struct {
	f        *fixture
	locks    map[string]stores.LockInfo
	revision uint64
	started  bool
	missed   bool // events were dropped
}

// apply applies an event with the row's names, and expects it to be consistent with the
// state.
func (r *replay) apply(e stores.Event) {
	r.f.want(r.started == (e.Kind != stores.EventSnapshot || e.Missed), "a watcher that has had a snapshot: %v, received %v", r.started, e.Kind)
	r.started = true
	r.f.want(e.Revision >= r.revision, "revision %d follows %d", e.Revision, r.revision)
	r.revision = e.Revision
	l := r.locks[e.Lock.Key]
	switch e.Kind {
	case stores.EventSnapshot:
		r.missed = r.missed || e.Missed
		r.locks = map[string]stores.LockInfo{}
		for _, l := range e.Locks {
			r.locks[l.Key] = l
		}
	case stores.EventAcquired:
		r.wantPossible(e, l.Owner == "")
		r.set(e.Lock, l.DeclaredTTL)
	case stores.EventReleased, stores.EventExpired, stores.EventRevoked:
		r.wantPossible(e, l.Owner != "" && sameGrant(l, e.Lock))
		r.set(stores.LockInfo{Key: e.Lock.Key}, l.DeclaredTTL)
	case stores.EventDeclared:
		r.wantPossible(e, l.DeclaredTTL == 0 && e.Lock.DeclaredTTL != 0 && sameGrant(l, e.Lock))
		r.set(e.Lock, e.Lock.DeclaredTTL)
	case stores.EventWithdrawn:
		r.wantPossible(e, l.DeclaredTTL != 0 && l.DeclaredTTL == e.Lock.DeclaredTTL && sameGrant(l, e.Lock))
		delete(r.locks, e.Lock.Key)
	default:
		r.f.failf("a watcher received %+v", e)
	}
}

// wantPossible expects an event to be possible in the present state.
func (r *replay) wantPossible(e stores.Event, possible bool) {
	r.f.want(possible, "a watcher received %v of %+v after %+v", e.Kind, e.Lock, r.locks[e.Lock.Key])
}

// set stores the lock with its holder, if it has one, and its declared TTL.
func (r *replay) set(l stores.LockInfo, declared time.Duration) {
	l.DeclaredTTL = declared
	if r.locks[l.Key] = l; l.Owner == "" && declared == 0 {
		delete(r.locks, l.Key)
	}
}

// sameGrant reports whether two locks are held by the same grant, or are both free.
func sameGrant(a, b stores.LockInfo) bool { return a.Owner == b.Owner && a.Token == b.Token }

// follow applies w's events up to the one that acquires the lock called end.
func (r *replay) follow(w *watcher, end string) {
	for {
		e := w.next()
		if e.Kind == 0 {
			return // next has recorded the failure
		}
		r.apply(e)
		if _, done := r.locks[end]; done {
			return
		}
	}
}

// wantEqual expects the replay to have exactly the locks of a list, immediately or after
// the events of locks that have just expired.
func (r *replay) wantEqual(w *watcher, listed []stores.LockInfo) {
	equal := r.f.eventually(r.f.promptLimit(), func() bool {
		for e, ok := w.pop(); ok; e, ok = w.pop() {
			r.apply(r.f.normalizeEvent(e))
		}
		return r.matches(listed)
	})
	r.f.want(equal, "List returned %+v, a watcher has %+v", listed, r.locks)
}

// matches reports whether the replay has exactly the locks of a list.
func (r *replay) matches(listed []stores.LockInfo) bool {
	differ := func(l stores.LockInfo) bool {
		known := r.locks[l.Key]
		return !sameGrant(known, l) || known.DeclaredTTL != l.DeclaredTTL
	}
	return len(r.locks) == len(listed) && !slices.ContainsFunc(listed, differ)
}
