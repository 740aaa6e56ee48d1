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
	callLimit = 10 * time.Second

	// prefixLen is the length of what a bench puts before the names of its locks.
	prefixLen = 17
)

// bench is what a row works at: clients of one storage, names that no other row uses, and
// a note of the first problem. After a problem the row goes on, because nothing that it
// does later can replace the note.
type bench struct {
	Harness
	prefix  string
	ctx     context.Context
	cleanup func(func())
	client  func() stores.Store

	mu    sync.Mutex
	first error
	lapse time.Time // when the first of the locks that the row has taken may expire
}

func newBench(t testing.TB, h Harness) *bench {
	open := h.Storage(t)
	return &bench{
		Harness: h,
		prefix:  fmt.Sprintf("%0*x/", prefixLen-1, rand.Uint64()),
		ctx:     t.Context(),
		cleanup: t.Cleanup,
		client: func() stores.Store {
			s := open()
			t.Cleanup(func() { _ = s.Close() }) // what Close must do has rows of its own
			return s
		},
	}
}

// open returns another client of the bench's storage.
func (b *bench) open() store { return store{b.client(), b} }

// key makes the name of a lock unique.
func (b *bench) key(name string) string { return b.prefix + name }

// keys makes the names of locks unique.
func (b *bench) keys(names []string) []string {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = b.key(name)
	}
	return keys
}

// name returns what a row calls the lock with the key.
func (b *bench) name(key string) string { return strings.TrimPrefix(key, b.prefix) }

// failf notes a problem, if it is the first. It may be called from any goroutine.
func (b *bench) failf(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first == nil {
		b.first = fmt.Errorf(format, args...)
	}
}

// want notes a problem unless ok.
func (b *bench) want(ok bool, format string, args ...any) {
	if !ok {
		b.failf(format, args...)
	}
}

func (b *bench) problem() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.first
}

// short is the shortest lease there is, for locks that shall expire.
func (b *bench) short() time.Duration { return b.MinTTL }

// brief is a lease that a row can wait for, and long enough to make a call or two within
// it on a slow machine. It is a whole number of units.
func (b *bench) brief() time.Duration {
	const enough = 400 * time.Millisecond
	if rest := enough % b.MinTTL; rest > 0 {
		return enough + b.MinTTL - rest
	}
	return enough
}

// expire waits until a lock granted for ttl just before must have expired.
func (b *bench) expire(ttl time.Duration) { time.Sleep(ttl + b.Slack) }

// ample is a lease that a row can wait for, and long enough to make several calls within
// it on a slow machine.
func (b *bench) ample() time.Duration { return 4 * b.brief() }

// holds notes a lock that the row has taken.
func (b *bench) holds(g stores.Grant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lapse.IsZero() || g.Expires.Before(b.lapse) {
		b.lapse = g.Expires
	}
}

// lapsed tells whether a lock that the row has taken may have expired, so that it is no
// sure thing any more what is held.
func (b *bench) lapsed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.lapse.IsZero() && time.Now().After(b.lapse)
}

// limited returns the ctx of one call.
func (b *bench) limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.ctx, callLimit)
}

// store is a client, with verbs that say what a row expects of it. Locks are called by
// their names on the bench.
type store struct {
	stores.Store
	b *bench
}

// tryLock is TryLock within the bounds of the bench.
func (s store) tryLock(name, owner string, ttl time.Duration) (stores.Grant, error) {
	return s.tryLockFor(s.b.request(name, owner, ttl))
}

func (s store) tryLockFor(req stores.Request) (stores.Grant, error) {
	ctx, cancel := s.b.limited()
	defer cancel()
	return s.TryLock(ctx, req)
}

// grants expects the lock to be given to owner, for longer than the row lasts.
func (s store) grants(name, owner string) stores.Grant { return s.grantsFor(name, owner, lease) }

// grantsFor expects the lock to be given to owner for ttl.
func (s store) grantsFor(name, owner string, ttl time.Duration) stores.Grant {
	return s.grantsAs(s.b.request(name, owner, ttl))
}

// grantsAs expects the lock to be given as the request says.
func (s store) grantsAs(req stores.Request) stores.Grant {
	g, err := s.tryLockFor(req)
	switch {
	case err != nil:
		s.b.failf("TryLock of %q by %q failed: %v", s.b.name(req.Key), req.Owner, err)
	case !g.Acquired:
		s.b.failf("TryLock of %q by %q was refused", s.b.name(req.Key), req.Owner)
	default:
		s.b.holds(g)
	}
	return g
}

// refuses expects the lock to be held, and nobody to get it.
func (s store) refuses(name, owner string) stores.Grant {
	g, err := s.tryLock(name, owner, lease)
	switch {
	case err != nil:
		s.b.failf("TryLock of %q by %q failed instead of being refused: %v", name, owner, err)
	case g.Acquired:
		s.b.failf("TryLock of %q by %q was granted", name, owner)
	}
	return g
}

// unlock is Unlock within the bounds of the bench.
func (s store) unlock(name, owner string) error {
	ctx, cancel := s.b.limited()
	defer cancel()
	return s.Unlock(ctx, s.b.key(name), owner)
}

// frees expects owner to give the lock back.
func (s store) frees(name, owner string) {
	if err := s.unlock(name, owner); err != nil {
		s.b.failf("Unlock of %q by %q failed: %v", name, owner, err)
	}
}

// keeps expects Unlock to fail with the outcome want.
func (s store) keeps(name, owner string, want error) {
	if err := s.unlock(name, owner); !errors.Is(err, want) {
		s.b.failf("Unlock of %q by %q returned %v, want %v", name, owner, err, want)
	}
}

// renew is Renew within the bounds of the bench.
func (s store) renew(name, owner string, ttl time.Duration) (stores.Grant, error) {
	ctx, cancel := s.b.limited()
	defer cancel()
	return stores.Renew(ctx, s.Store, stores.Request{Key: s.b.key(name), Owner: owner, TTL: ttl})
}

// renews expects owner to make the lock last for ttl from now.
func (s store) renews(name, owner string, ttl time.Duration) stores.Grant {
	g, err := s.renew(name, owner, ttl)
	switch {
	case err != nil:
		s.b.failf("Renew of %q by %q failed: %v", name, owner, err)
	case !g.Acquired:
		s.b.failf("Renew of %q by %q answered neither with a grant nor with an error", name, owner)
	}
	return g
}

// lapses expects Renew to fail with the outcome want and with nothing granted.
func (s store) lapses(name, owner string, want error) {
	g, err := s.renew(name, owner, lease)
	s.b.want(errors.Is(err, want), "Renew of %q by %q returned %v, want %v", name, owner, err, want)
	s.b.want(g == stores.Grant{}, "Renew of %q by %q failed and granted %+v", name, owner, g)
}

// ends expects that the lock is held before the moment earliest and free at the moment
// latest. It leaves the lock with an owner called next.
func (s store) ends(name string, earliest, latest time.Time) {
	for _, before := range []time.Duration{time.Until(earliest) / 2, time.Millisecond, time.Microsecond} {
		time.Sleep(time.Until(earliest) - before)
		g, err := s.tryLock(name, "next", lease)
		switch left := time.Until(earliest); {
		case err != nil:
			s.b.failf("TryLock of %q by %q failed: %v", name, "next", err)
			return
		case g.Acquired && left > 0:
			s.b.failf("%q was granted to another owner %v before its end", name, left)
			return
		case g.Acquired:
			return // the answer came so late that it proves nothing
		}
	}
	time.Sleep(time.Until(latest))
	s.grants(name, "next")
}

// list is List within the bounds of the bench, with the keys as the row knows them.
func (s store) list(prefix string) []stores.LockInfo {
	ctx, cancel := s.b.limited()
	defer cancel()
	locks, err := stores.List(ctx, s.Store, s.b.key(prefix))
	if err != nil {
		s.b.failf("List of %q failed: %v", prefix, err)
	}
	return s.b.named(locks)
}

// lists expects exactly these locks under the prefix, in this order.
func (s store) lists(prefix string, names ...string) {
	var got []string
	for _, l := range s.list(prefix) {
		got = append(got, l.Key)
	}
	s.b.want(slices.Equal(got, names), "List of %q returned %q, want %q", prefix, got, names)
}

// named returns the locks of this bench without its prefix.
func (b *bench) named(locks []stores.LockInfo) []stores.LockInfo {
	var own []stores.LockInfo
	for _, l := range locks {
		if name, ok := strings.CutPrefix(l.Key, b.prefix); ok {
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
