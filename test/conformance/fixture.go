package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

const (
	// lease is a TTL longer than any row takes, unless the row waits for its end.
	lease = time.Minute

	// callTimeout bounds each call, so that a store that hangs fails its row and not the
	// whole run.
	callTimeout = 10 * time.Second

	// prefixLen is the length of the prefix that a fixture adds to the names of its
	// locks.
	prefixLen = 17
)

// fixture is the environment of one row: clients of one storage, names that no other row
// uses, and the first failure. A row continues after a failure; later failures are
// dropped, and so are those after a lease has ended too early for the row.
type fixture struct {
	Harness
	prefix     string
	ctx        context.Context
	cleanup    func(func())
	logf       func(format string, args ...any)
	openClient func() stores.Store

	mu       sync.Mutex
	firstErr error
	leases   map[string]time.Time     // when the locks end that the row holds, by name
	declared map[string]time.Duration // the TTLs of declared locks, by name
	slow     bool                     // a lease has ended too early for the row
}

func newFixture(t testing.TB, h Harness) *fixture {
	open := h.Storage(t)
	return &fixture{
		Harness:  h,
		prefix:   fmt.Sprintf("%0*x/", prefixLen-1, rand.Uint64()),
		ctx:      stores.WithCaller(t.Context()), // grants to an ended ctx stay visible
		cleanup:  t.Cleanup,
		logf:     t.Logf,
		leases:   map[string]time.Time{},
		declared: map[string]time.Duration{},
		openClient: func() stores.Store {
			s := open()
			t.Cleanup(func() { _ = s.Close() }) // other rows check Close
			return s
		},
	}
}

// open returns another client of the fixture's storage.
func (f *fixture) open() store { return store{f.openClient(), f} }

// key returns the key of the lock called name, which no other row uses.
func (f *fixture) key(name string) string { return f.prefix + name }

// keys returns the keys of the locks called names.
func (f *fixture) keys(names []string) []string {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = f.key(name)
	}
	return keys
}

// name returns the row's name of the lock with the key.
func (f *fixture) name(key string) string { return strings.TrimPrefix(key, f.prefix) }

// failf records a failure, unless there is one already or a lease has ended too early. It
// is safe for concurrent use.
func (f *fixture) failf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.firstErr == nil && !f.isSlow() {
		f.firstErr = fmt.Errorf(format, args...)
	}
}

// want records a failure unless ok.
func (f *fixture) want(ok bool, format string, args ...any) {
	if !ok {
		f.failf(format, args...)
	}
}

func (f *fixture) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.firstErr
}

// shortTTL is the shortest possible lease, for locks that are meant to expire.
func (f *fixture) shortTTL() time.Duration { return f.MinTTL }

// briefTTL is a lease short enough to wait for, and long enough for a call or two on a
// slow machine. It is a multiple of MinTTL.
func (f *fixture) briefTTL() time.Duration {
	const enough = 400 * time.Millisecond
	if rest := enough % f.MinTTL; rest > 0 {
		return enough + f.MinTTL - rest
	}
	return enough
}

// waitExpired sleeps until a lock that was granted for ttl just before must have expired.
func (f *fixture) waitExpired(ttl time.Duration) { f.sleep(ttl + f.Slack) }

// sleep sleeps for d. The row expects the leases that end meanwhile to end.
func (f *fixture) sleep(d time.Duration) { f.sleepUntil(time.Now().Add(d)) }

// sleepUntil sleeps until t. The row expects the leases that end before t to end.
func (f *fixture) sleepUntil(t time.Time) {
	f.expectExpiry(t)
	time.Sleep(time.Until(t))
}

// expectExpiry declares that the row expects the leases that end before t to end.
func (f *fixture) expectExpiry(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.leases, func(_ string, end time.Time) bool { return !end.After(t) })
}

// ampleTTL is a lease short enough to wait for, and long enough for several calls on a
// slow machine.
func (f *fixture) ampleTTL() time.Duration { return 4 * f.briefTTL() }

// noteLease records that the row holds the locks for ttl, or for their declared TTL if
// ttl is zero. The shortest leases are meant to end and do not count.
func (f *fixture) noteLease(sent time.Time, ttl time.Duration, keys ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, key := range keys {
		delete(f.leases, f.name(key))
		if ttl == 0 {
			ttl = f.declared[f.name(key)]
		}
		if ttl > f.shortTTL() || f.shortTTL() == f.briefTTL() {
			f.leases[f.name(key)] = sent.Add(ttl)
		}
	}
}

// noteEnd records that the row no longer holds the lock.
func (f *fixture) noteEnd(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.leases, name)
}

// mayHaveExpired reports whether a lease may have ended before the row expected it,
// because the machine is slow. Then the row cannot know what is held.
func (f *fixture) mayHaveExpired() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.isSlow()
}

// isSlow is mayHaveExpired for callers that have locked the mutex.
func (f *fixture) isSlow() bool {
	if f.Bubble || f.slow {
		return f.slow
	}
	now := time.Now()
	for name, end := range f.leases {
		if now.After(end) {
			f.slow = true
			f.logf("the row proves nothing from here on: the lease of %q has ended too early for it", name)
		}
	}
	return f.slow
}

// callContext returns the ctx of one call.
func (f *fixture) callContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(f.ctx, callTimeout)
}

// store is a client with helpers that record a failure unless the outcome is the expected
// one. They take the names of locks and not their keys.
type store struct {
	stores.Store
	f *fixture
}

// tryLock calls TryLock with a timeout.
func (s store) tryLock(name, owner string, ttl time.Duration) (stores.Grant, error) {
	return s.tryLockRequest(s.f.request(name, owner, ttl))
}

func (s store) tryLockRequest(req stores.Request) (stores.Grant, error) {
	ctx, cancel := s.f.callContext()
	defer cancel()
	return s.TryLock(ctx, req)
}

// mustLock expects TryLock to grant the lock to owner, for longer than the row takes.
func (s store) mustLock(name, owner string) stores.Grant { return s.mustLockFor(name, owner, lease) }

// mustLockFor expects TryLock to grant the lock to owner for ttl.
func (s store) mustLockFor(name, owner string, ttl time.Duration) stores.Grant {
	return s.mustLockRequest(s.f.request(name, owner, ttl))
}

// mustLockRequest expects TryLock to grant the request.
func (s store) mustLockRequest(req stores.Request) stores.Grant {
	sent := time.Now()
	g, err := s.tryLockRequest(req)
	switch {
	case err != nil:
		s.f.failf("TryLock of %q by %q failed: %v", s.f.name(req.Key), req.Owner, err)
	case !g.Acquired:
		s.f.failf("TryLock of %q by %q was refused", s.f.name(req.Key), req.Owner)
	default:
		s.f.noteLease(sent, req.TTL, req.Key)
	}
	return g
}

// mustRefuse expects TryLock to be refused because the lock is held.
func (s store) mustRefuse(name, owner string) stores.Grant {
	g, err := s.tryLock(name, owner, lease)
	switch {
	case err != nil:
		s.f.failf("TryLock of %q by %q failed instead of being refused: %v", name, owner, err)
	case g.Acquired:
		s.f.failf("TryLock of %q by %q was granted", name, owner)
	}
	return g
}

// unlock calls Unlock with a timeout.
func (s store) unlock(name, owner string) error {
	ctx, cancel := s.f.callContext()
	defer cancel()
	err := s.Unlock(ctx, s.f.key(name), owner)
	if err == nil {
		s.f.noteEnd(name)
	}
	return err
}

// mustUnlock expects Unlock by owner to succeed.
func (s store) mustUnlock(name, owner string) {
	if err := s.unlock(name, owner); err != nil {
		s.f.failf("Unlock of %q by %q failed: %v", name, owner, err)
	}
}

// unlockFails expects Unlock to fail with want.
func (s store) unlockFails(name, owner string, want error) {
	if err := s.unlock(name, owner); !errors.Is(err, want) {
		s.f.failf("Unlock of %q by %q returned %v, want %v", name, owner, err, want)
	}
}

// renew calls Renew with a timeout.
func (s store) renew(name, owner string, ttl time.Duration) (stores.Grant, error) {
	ctx, cancel := s.f.callContext()
	defer cancel()
	sent := time.Now()
	g, err := stores.Renew(ctx, s.Store, stores.Request{Key: s.f.key(name), Owner: owner, TTL: ttl})
	if err == nil {
		s.f.noteLease(sent, ttl, s.f.key(name))
	}
	return g, err
}

// mustRenew expects Renew to extend owner's lock to ttl from now.
func (s store) mustRenew(name, owner string, ttl time.Duration) stores.Grant {
	g, err := s.renew(name, owner, ttl)
	switch {
	case err != nil:
		s.f.failf("Renew of %q by %q failed: %v", name, owner, err)
	case !g.Acquired:
		s.f.failf("Renew of %q by %q returned neither a grant nor an error", name, owner)
	}
	return g
}

// renewFails expects Renew to fail with want and to return no grant.
func (s store) renewFails(name, owner string, want error) {
	g, err := s.renew(name, owner, lease)
	s.f.want(errors.Is(err, want), "Renew of %q by %q returned %v, want %v", name, owner, err, want)
	s.f.want(g == stores.Grant{}, "Renew of %q by %q failed with a grant: %+v", name, owner, g)
}

// mustExpireBetween expects the lock to be held before earliest and to be free at latest.
// Afterwards the owner "next" holds it.
func (s store) mustExpireBetween(name string, earliest, latest time.Time) {
	s.f.expectExpiry(latest)
	for _, before := range []time.Duration{time.Until(earliest) / 2, time.Millisecond, time.Microsecond} {
		time.Sleep(time.Until(earliest) - before)
		g, err := s.tryLock(name, "next", lease)
		switch left := time.Until(earliest); {
		case err != nil:
			s.f.failf("TryLock of %q by %q failed: %v", name, "next", err)
			return
		case g.Acquired && left > 0:
			s.f.failf("%q was granted to another owner %v before it expires", name, left)
			return
		case g.Acquired:
			return // too late to prove anything
		}
	}
	time.Sleep(time.Until(latest))
	s.mustLock(name, "next")
}

// list calls List with a timeout and returns the row's locks under their names.
func (s store) list(prefix string) []stores.LockInfo {
	ctx, cancel := s.f.callContext()
	defer cancel()
	locks, err := stores.List(ctx, s.Store, s.f.key(prefix))
	if err != nil {
		s.f.failf("List of %q failed: %v", prefix, err)
	}
	return s.f.ownLocks(locks)
}

// mustList expects exactly these locks under the prefix, in this order.
func (s store) mustList(prefix string, names ...string) {
	var got []string
	for _, l := range s.list(prefix) {
		got = append(got, l.Key)
	}
	s.f.want(slices.Equal(got, names), "List of %q returned %q, want %q", prefix, got, names)
}

// ownLocks returns the fixture's locks under their names.
func (f *fixture) ownLocks(locks []stores.LockInfo) []stores.LockInfo {
	var own []stores.LockInfo
	for _, l := range locks {
		if name, ok := strings.CutPrefix(l.Key, f.prefix); ok {
			l.Key = name
			own = append(own, l)
		}
	}
	return own
}

// errorOf returns the error of a call with two results.
func errorOf[T any](_ T, err error) error { return err }

// filter returns a new slice with the elements that keep accepts.
func filter[T any](all []T, keep func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(all), func(e T) bool { return !keep(e) })
}
