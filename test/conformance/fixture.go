package conformance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

const (
	// lease is a TTL that no row outlives unless it means to.
	lease = time.Minute

	// callLimit bounds each call, so that a store that hangs fails its row and not the
	// whole run.
	callTimeout = 10 * time.Second

	// prefixLen is the length of what a bench puts before the names of its locks.
	prefixLen = 17
)

// bench is what a row works at: clients of one storage, names that no other row uses, and
// a note of the first problem. After a problem the row goes on, because nothing that it
// does later can replace the note.
type fixture struct {
	Harness
	prefix     string
	ctx        context.Context
	cleanup    func(func())
	openClient func() stores.Store

	mu             sync.Mutex
	firstErr       error
	earliestExpiry time.Time // when the first of the locks that the row has taken may expire
}

func newFixture(t testing.TB, h Harness) *fixture {
	open := h.Storage(t)
	return &fixture{
		Harness: h,
		prefix:  fmt.Sprintf("%0*x/", prefixLen-1, rand.Uint64()),
		ctx:     t.Context(),
		cleanup: t.Cleanup,
		openClient: func() stores.Store {
			s := open()
			t.Cleanup(func() { _ = s.Close() }) // what Close must do has rows of its own
			return s
		},
	}
}

// open returns another client of the bench's storage.
func (f *fixture) open() store { return store{f.openClient(), f} }

// key makes the name of a lock unique.
func (f *fixture) key(name string) string { return f.prefix + name }

// keys makes the names of locks unique.
func (f *fixture) keys(names []string) []string {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = f.key(name)
	}
	return keys
}

// name returns what a row calls the lock with the key.
func (f *fixture) name(key string) string { return strings.TrimPrefix(key, f.prefix) }

// failf notes a problem, if it is the first. It may be called from any goroutine.
func (f *fixture) failf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.firstErr == nil {
		f.firstErr = fmt.Errorf(format, args...)
	}
}

// want notes a problem unless ok.
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

// short is the shortest lease there is, for locks that shall expire.
func (f *fixture) shortTTL() time.Duration { return f.MinTTL }

// brief is a lease that a row can wait for, and long enough to make a call or two within
// it on a slow machine. It is a whole number of units.
func (f *fixture) briefTTL() time.Duration {
	const enough = 400 * time.Millisecond
	if rest := enough % f.MinTTL; rest > 0 {
		return enough + f.MinTTL - rest
	}
	return enough
}

// expire waits until a lock granted for ttl just before must have expired.
func (f *fixture) waitExpired(ttl time.Duration) { time.Sleep(ttl + f.Slack) }

// ample is a lease that a row can wait for, and long enough to make several calls within
// it on a slow machine.
func (f *fixture) ampleTTL() time.Duration { return 4 * f.briefTTL() }

// holds notes a lock that the row has taken.
func (f *fixture) noteGrant(g stores.Grant) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.earliestExpiry.IsZero() || g.Expires.Before(f.earliestExpiry) {
		f.earliestExpiry = g.Expires
	}
}

// lapsed tells whether a lock that the row has taken may have expired, so that it is no
// sure thing any more what is held.
func (f *fixture) mayHaveExpired() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.earliestExpiry.IsZero() && time.Now().After(f.earliestExpiry)
}

// limited returns the ctx of one call.
func (f *fixture) callContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(f.ctx, callTimeout)
}

// store is a client, with verbs that say what a row expects of it. Locks are called by
// their names on the bench.
type store struct {
	stores.Store
	f *fixture
}

// tryLock is TryLock within the bounds of the bench.
func (s store) tryLock(name, owner string, ttl time.Duration) (stores.Grant, error) {
	return s.tryLockRequest(s.f.request(name, owner, ttl))
}

func (s store) tryLockRequest(req stores.Request) (stores.Grant, error) {
	ctx, cancel := s.f.callContext()
	defer cancel()
	return s.TryLock(ctx, req)
}

// grants expects the lock to be given to owner, for longer than the row lasts.
func (s store) mustLock(name, owner string) stores.Grant { return s.mustLockFor(name, owner, lease) }

// grantsFor expects the lock to be given to owner for ttl.
func (s store) mustLockFor(name, owner string, ttl time.Duration) stores.Grant {
	return s.mustLockRequest(s.f.request(name, owner, ttl))
}

// grantsAs expects the lock to be given as the request says.
func (s store) mustLockRequest(req stores.Request) stores.Grant {
	g, err := s.tryLockRequest(req)
	switch {
	case err != nil:
		s.f.failf("TryLock of %q by %q failed: %v", s.f.name(req.Key), req.Owner, err)
	case !g.Acquired:
		s.f.failf("TryLock of %q by %q was refused", s.f.name(req.Key), req.Owner)
	default:
		s.f.noteGrant(g)
	}
	return g
}

// refuses expects the lock to be held, and nobody to get it.
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

// unlock is Unlock within the bounds of the bench.
func (s store) unlock(name, owner string) error {
	ctx, cancel := s.f.callContext()
	defer cancel()
	return s.Unlock(ctx, s.f.key(name), owner)
}

// frees expects owner to give the lock back.
func (s store) mustUnlock(name, owner string) {
	if err := s.unlock(name, owner); err != nil {
		s.f.failf("Unlock of %q by %q failed: %v", name, owner, err)
	}
}

// keeps expects Unlock to fail with the outcome want.
func (s store) unlockFails(name, owner string, want error) {
	if err := s.unlock(name, owner); !errors.Is(err, want) {
		s.f.failf("Unlock of %q by %q returned %v, want %v", name, owner, err, want)
	}
}

// renew is Renew within the bounds of the bench.
func (s store) renew(name, owner string, ttl time.Duration) (stores.Grant, error) {
	ctx, cancel := s.f.callContext()
	defer cancel()
	return stores.Renew(ctx, s.Store, stores.Request{Key: s.f.key(name), Owner: owner, TTL: ttl})
}

// renews expects owner to make the lock last for ttl from now.
func (s store) mustRenew(name, owner string, ttl time.Duration) stores.Grant {
	g, err := s.renew(name, owner, ttl)
	switch {
	case err != nil:
		s.f.failf("Renew of %q by %q failed: %v", name, owner, err)
	case !g.Acquired:
		s.f.failf("Renew of %q by %q answered neither with a grant nor with an error", name, owner)
	}
	return g
}

// lapses expects Renew to fail with the outcome want and with nothing granted.
func (s store) renewFails(name, owner string, want error) {
	g, err := s.renew(name, owner, lease)
	s.f.want(errors.Is(err, want), "Renew of %q by %q returned %v, want %v", name, owner, err, want)
	s.f.want(g == stores.Grant{}, "Renew of %q by %q failed and granted %+v", name, owner, g)
}

// ends expects that the lock is held before the moment earliest and free at the moment
// latest. It leaves the lock with an owner called next.
func (s store) mustExpireBetween(name string, earliest, latest time.Time) {
	for _, before := range []time.Duration{time.Until(earliest) / 2, time.Millisecond, time.Microsecond} {
		time.Sleep(time.Until(earliest) - before)
		g, err := s.tryLock(name, "next", lease)
		switch left := time.Until(earliest); {
		case err != nil:
			s.f.failf("TryLock of %q by %q failed: %v", name, "next", err)
			return
		case g.Acquired && left > 0:
			s.f.failf("%q was granted to another owner %v before its end", name, left)
			return
		case g.Acquired:
			return // the answer came so late that it proves nothing
		}
	}
	time.Sleep(time.Until(latest))
	s.mustLock(name, "next")
}

// list is List within the bounds of the bench, with the keys as the row knows them.
func (s store) list(prefix string) []stores.LockInfo {
	ctx, cancel := s.f.callContext()
	defer cancel()
	locks, err := stores.List(ctx, s.Store, s.f.key(prefix))
	if err != nil {
		s.f.failf("List of %q failed: %v", prefix, err)
	}
	return s.f.ownLocks(locks)
}

// lists expects exactly these locks under the prefix, in this order.
func (s store) mustList(prefix string, names ...string) {
	var got []string
	for _, l := range s.list(prefix) {
		got = append(got, l.Key)
	}
	s.f.want(slices.Equal(got, names), "List of %q returned %q, want %q", prefix, got, names)
}

// named returns the locks of this bench without its prefix.
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

// errorOf drops what a call returned beside its error.
func errorOf[T any](_ T, err error) error { return err }

// filter returns the elements that are kept, in a slice of its own.
func filter[T any](all []T, keep func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(all), func(e T) bool { return !keep(e) })
}
