package redis

// Tests of locks that were handed over to a waiter and are not claimed yet.

import (
	"errors"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// reserve makes the store from hand "g/k" over to a waiter of the store to. The waiter is
// not woken, so it does not claim the lock.
func reserve(t *testing.T, from, to *Store) *waiter {
	t.Helper()
	declare(t, to, group, "g/k", time.Minute)
	lock(t, from, "other", "holder", time.Minute)
	// A store with a waiter is subscribed.
	startLock(t, to, request("other", "o", time.Minute), 1)
	lockDeclared(t, from, "g/k", "holder")
	// This waiter is not registered to be woken.
	w := to.newSingleWaiter(member("g/k", "o"))
	if g, err := to.request(t.Context(), w, true); err != nil || g.Acquired {
		t.Fatal(g, err)
	}
	unlock(t, from, "g/k", "holder")
	if owner := from.client.Get(t.Context(), "g/k").Val(); owner != "o" {
		t.Fatalf("handed to %q", owner)
	}
	return w
}

// TestDeclaredLock_UnlockBeforeClaim unlocks a lock that was handed over to a waiter. The
// wait does not end with it.
func TestDeclaredLock_UnlockBeforeClaim(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	for _, row := range []struct {
		name string
		wait time.Duration // until Unlock
		want error
	}{
		{"while the lock is reserved", 0, nil},
		{"after the reservation", time.Second, stores.ErrNotHeld},
	} {
		t.Run(row.name, func(t *testing.T) {
			a, b := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
			w := reserve(t, b, a)
			time.Sleep(row.wait)
			if err := b.Unlock(t.Context(), "g/k", "o"); !errors.Is(err, row.want) {
				t.Errorf("unlock: %v", err)
			}
			if g, err := a.request(t.Context(), w, true); err != nil || !g.Acquired {
				t.Errorf("the claim: %+v, %v", g, err)
			}
			release(t, b, "g/k", "o")
			if n := b.client.Exists(t.Context(), "g/k", "mortise:waiting:g/k").Val(); n != 0 {
				t.Error("the lock and mortise:waiting must be gone")
			}
			b.client.FlushDB(t.Context())
		})
	}
}

// TestDeclaredLock_EndsBeforeClaim ends a lock that was handed to a waiter before the
// waiter claims it.
func TestDeclaredLock_EndsBeforeClaim(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	release := func(s *Store) error { return s.Release(t.Context(), "g/k", "o") }
	withdraw := func(s *Store) error { return s.Withdraw(t.Context(), group, "g/k") }
	for _, row := range []struct {
		name string
		wait time.Duration // until it ends
		end  func(*Store) error
		want error
	}{
		{"release while the lock is reserved", 0, release, stores.ErrGaveUp},
		{"release after the reservation", time.Second, release, stores.ErrGaveUp},
		{"withdraw while the lock is reserved", 0, withdraw, stores.ErrNotDeclared},
		{"withdraw after the reservation", time.Second, withdraw, stores.ErrNotDeclared},
	} {
		t.Run(row.name, func(t *testing.T) {
			a, b := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
			w := reserve(t, b, a)
			if _, err := b.TryLock(t.Context(), member("g/k", "o")); !errors.Is(err, stores.ErrRepeated) {
				t.Errorf("repeated request: %v", err)
			}
			time.Sleep(row.wait)
			if err := row.end(b); err != nil {
				t.Fatal(err)
			}
			if n := b.client.Exists(t.Context(), "g/k", "mortise:waiting:g/k").Val(); n != 0 {
				t.Error("the lock and mortise:waiting must be gone")
			}
			if _, err := a.request(t.Context(), w, true); !errors.Is(err, row.want) {
				t.Errorf("the claim: %v", err)
			}
			b.client.FlushDB(t.Context())
		})
	}
}
