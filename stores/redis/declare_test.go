package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// group is the group of most declared locks in the tests.
const group = "g/"

func declare(t *testing.T, s *Store, group, key string, ttl time.Duration) {
	t.Helper()
	if err := s.Declare(t.Context(), stores.Declaration{Group: group, Key: key, TTL: ttl}); err != nil {
		t.Fatal(err)
	}
}

func withdraw(t *testing.T, s *Store, group, key string) {
	t.Helper()
	if err := s.Withdraw(t.Context(), group, key); err != nil {
		t.Fatal(err)
	}
}

// member returns a request for a declared lock of the group.
func member(key, owner string) stores.Request {
	return stores.Request{Group: group, Key: key, Owner: owner}
}

// lockDeclared takes a declared lock that must be free.
func lockDeclared(t *testing.T, s *Store, key, owner string) stores.Grant {
	t.Helper()
	g, err := s.TryLock(t.Context(), member(key, owner))
	if err != nil || !g.Acquired {
		t.Fatalf("lock %q for %q: %+v, %v", key, owner, g, err)
	}
	return g
}

// failsWith expects Lock to return an error.
func (w *lockCall) failsWith(want error) {
	w.t.Helper()
	if g, err := w.result(); !errors.Is(err, want) || g != (stores.Grant{}) {
		w.t.Errorf("ended with %+v and %v, want %v", g, err, want)
	}
}

func TestDeclaredLock_TTL(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	a, b := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	declare(t, a, group, "g/k", time.Minute+time.Microsecond)
	const ttl = time.Minute + time.Millisecond
	for _, row := range []struct {
		name string
		take func() (stores.Grant, error)
	}{
		{"tried", func() (stores.Grant, error) { return a.TryLock(t.Context(), member("g/k", "o")) }},
		{"waited for and free", func() (stores.Grant, error) { return b.Lock(t.Context(), member("g/k", "o")) }},
		{"handed over by the same store", func() (stores.Grant, error) { return handOver(t, a, a) }},
		{"handed over by another store", func() (stores.Grant, error) { return handOver(t, b, a) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			g, err := row.take()
			asked := time.Now()
			left := a.client.PTTL(t.Context(), "g/k").Val()
			if err != nil || g.TTL != ttl || g.Expires.After(asked.Add(left+2*time.Millisecond).Add(time.Since(asked))) {
				t.Errorf("granted %+v, expires in %v, in Redis in %v; %v", g, g.Expires.Sub(asked), left, err)
			}
			if left < 50*time.Second || g.Expires.Before(asked.Add(50*time.Second)) {
				t.Errorf("expires in %v, in Redis in %v", g.Expires.Sub(asked), left)
			}
			unlock(t, a, "g/k", "o")
		})
	}
}

// handOver releases "g/k" in one store while "o" waits for it in the other.
func handOver(t *testing.T, from, to *Store) (stores.Grant, error) {
	t.Helper()
	lockDeclared(t, from, "g/k", "first")
	w := startLock(t, to, member("g/k", "o"), 1)
	unlock(t, from, "g/k", "first")
	return w.result()
}

func TestWithdraw_EndsWaitsInOtherStores(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	a, b := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	declare(t, a, group, "g/k", time.Minute)
	held := lockDeclared(t, a, "g/k", "holder")
	members := []*lockCall{startLock(t, a, member("g/k", "ann"), 1), startLock(t, b, member("g/k", "bob"), 2)}
	other := startLock(t, b, request("g/k", "other", time.Minute), 3)
	last := startLock(t, a, member("g/k", "cid"), 4)
	withdraw(t, b, group, "g/k")
	if owner := a.client.Get(t.Context(), "g/k").Val(); owner != "other" {
		t.Errorf("withdrawn, the lock is %q's", owner)
	}
	declare(t, b, group, "g/k", time.Hour) // before the waiters are woken
	for _, w := range append(members, last) {
		w.failsWith(stores.ErrNotDeclared)
	}
	if token := other.granted(); token <= held.Token {
		t.Errorf("token %d after %d", token, held.Token)
	}
	if err := a.Unlock(t.Context(), "g/k", "holder"); !errors.Is(err, stores.ErrNotOwner) {
		t.Errorf("unlock by the former holder: %v", err)
	}
	unlock(t, a, "g/k", "other")
	withdraw(t, a, group, "g/k")
	onlyTheTokenIsLeft(t, a)
}

// TestDeclaredLock_WithdrawnAndDeclaredAgain covers a waiter that has neither received a
// message nor finds the note about the withdrawal.
func TestDeclaredLock_WithdrawnAndDeclaredAgain(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	a, b := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	declare(t, a, group, "g/k", time.Minute)
	lockDeclared(t, a, "g/k", "holder")
	w := a.newSingleWaiter(member("g/k", "o"))
	if g, err := a.request(t.Context(), w, true); err != nil || g.Acquired {
		t.Fatal(g, err)
	}
	withdraw(t, b, group, "g/k")
	declare(t, b, group, "g/k", time.Minute)
	b.client.Del(t.Context(), "mortise:waiter:"+w.id)
	if g, err := a.request(t.Context(), w, true); !errors.Is(err, stores.ErrNotDeclared) || g.Acquired {
		t.Errorf("repeated request: %+v, %v", g, err)
	}
	if w := a.newSingleWaiter(member("g/k", "o")); w.declared != 0 {
		t.Error("a new request must not have a declaration")
	} else if g, err := a.request(t.Context(), w, false); err != nil || !g.Acquired {
		t.Errorf("a new request: %+v, %v", g, err)
	}
}

func TestRelease_EndsWaitsInOtherStores(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	a, b := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	declare(t, a, group, "g/k", time.Minute)
	lockDeclared(t, a, "g/k", "holder")
	for i, from := range []*Store{a, b} {
		gaveUp := startLock(t, a, member("g/k", "o"), 1)
		next := startLock(t, b, member("g/k", "next"), 2)
		release(t, from, "g/k", "o")
		gaveUp.failsWith(stores.ErrGaveUp)
		if n := waiters(t, a, "g/k"); n != 1 {
			t.Errorf("round %d: %d waiters", i, n)
		}
		if err := from.Release(t.Context(), "g/k", "o"); !errors.Is(err, stores.ErrNotOwner) {
			t.Errorf("round %d: release once more: %v", i, err)
		}
		release(t, from, "g/k", "next")
		next.failsWith(stores.ErrGaveUp)
	}
	unlock(t, a, "g/k", "holder")
	withdraw(t, a, group, "g/k")
	onlyTheTokenIsLeft(t, a)
}

func TestDeclaredLock_LongWait(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	declare(t, s, group, "g/k", time.Minute)
	lockDeclared(t, s, "g/k", "holder")
	w := startLock(t, s, member("g/k", "o"), 1)
	if !s.client.PExpire(t.Context(), "mortise:waiting:g/k", time.Second).Val() {
		t.Fatal("mortise:waiting must exist")
	}
	eventually(t, "a check refreshes the hash", func() bool {
		return s.client.PTTL(t.Context(), "mortise:waiting:g/k").Val() > 2*time.Second
	})
	release(t, s, "g/k", "o")
	w.failsWith(stores.ErrGaveUp)
}

// TestDeclaredLock_CanceledWaiterIsWoken expects a message, because checks would notice
// the cancellation only later.
func TestDeclaredLock_CanceledWaiterIsWoken(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	a, b := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	declare(t, a, group, "g/k", time.Minute)
	lockDeclared(t, a, "g/k", "holder")
	messages := server.Client().Subscribe(t.Context(), wakePrefix+a.id)
	if _, err := messages.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		end  func() error
		want error
	}{
		{"released", func() error { return b.Release(t.Context(), "g/k", "o") }, stores.ErrGaveUp},
		{"withdrawn", func() error { return b.Withdraw(t.Context(), group, "g/k") }, stores.ErrNotDeclared},
	} {
		w := startLock(t, a, member("g/k", "o"), 1)
		id := a.client.HGet(t.Context(), "mortise:waiting:g/k", "o").Val()
		if err := row.end(); err != nil {
			t.Fatal(err)
		}
		w.failsWith(row.want)
		eventually(t, row.name+": the waiter is woken", func() bool {
			select {
			case message := <-messages.Channel():
				return message.Payload == id // others are heartbeats
			default:
				return false
			}
		})
	}
}

func TestDeclaredLock_RepeatedRequest(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	a, b := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	declare(t, a, group, "g/k", time.Minute)
	repeats := func(name string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := b.Lock(ctx, member("g/k", "o")); !errors.Is(err, stores.ErrRepeated) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := b.TryLock(ctx, member("g/k", "o")); !errors.Is(err, stores.ErrRepeated) {
			t.Errorf("%s, without waiting: %v", name, err)
		}
	}
	lockDeclared(t, a, "g/k", "o")
	repeats("the holder")
	unlock(t, a, "g/k", "o")

	lockDeclared(t, a, "g/k", "holder")
	w := startLock(t, a, member("g/k", "o"), 1)
	repeats("a waiter")
	unlock(t, a, "g/k", "holder")
	w.granted()
	unlock(t, a, "g/k", "o")

	lock(t, a, "g/k", "holder", time.Minute)
	plain := startLock(t, a, request("g/k", "o", time.Minute), 1)
	repeats("a waiter without the group")
	plain.cancel()
	plain.failsWith(context.Canceled)
	left := startLock(t, b, member("g/k", "o"), 1)
	repeats("a waiter in the other store")
	left.cancel()
	left.failsWith(context.Canceled)
	if err := a.Unlock(t.Context(), "g/k", "o"); !errors.Is(err, stores.ErrNotOwner) {
		t.Errorf("unlock by a waiter that has left: %v", err)
	}
	startLock(t, a, member("g/k", "o"), 1)
}

// TestDeclaredLock_RepeatsDeadWaiter repeats the request of an owner whose process is
// dead, and then revives that process.
func TestDeclaredLock_RepeatsDeadWaiter(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, dead := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	declare(t, s, group, "g/k", time.Minute)
	lockDeclared(t, s, "g/k", "holder")
	before := dead.newSingleWaiter(member("g/k", "o"))
	// The waiter sends no heartbeat.
	if _, err := dead.request(t.Context(), before, true); err != nil {
		t.Fatal(err)
	}
	die := keepAlive(t, dead)
	if _, err := s.TryLock(t.Context(), member("g/k", "o")); !errors.Is(err, stores.ErrRepeated) {
		t.Errorf("while the process is alive: %v", err)
	}
	die()
	eventually(t, "the owner can request the lock", func() bool {
		g, err := s.TryLock(t.Context(), member("g/k", "o"))
		return err == nil && !g.Acquired
	})
	w := startLock(t, s, member("g/k", "o"), 1)
	if _, err := dead.request(t.Context(), before, true); !errors.Is(err, stores.ErrRepeated) {
		t.Errorf("after the process has come back: %v", err)
	}
	if err := dead.sendLeave(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	release(t, s, "g/k", "o")
	w.failsWith(stores.ErrGaveUp)
}

func TestList_ManyGroups(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, other := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	var all []string
	for i := range 3 * groupBatch {
		for j := range 2 {
			key := fmt.Sprintf("room%03d/%d", i, j)
			declare(t, s, key[:len("room000/")], key, time.Minute)
			all = append(all, key)
		}
	}
	for i := range 2 {
		lock(t, s, all[i], "o", time.Minute)
	}
	lock(t, s, "room000/not declared", "o", time.Minute)
	for _, prefix := range []string{"", "room", "room1", "room123/", "room123/1", "room123/12", "roomy"} {
		want := 0
		for _, key := range append(all, "room000/not declared") {
			if strings.HasPrefix(key, prefix) {
				want++
			}
		}
		list, err := other.List(t.Context(), prefix)
		if err != nil || len(list) != want || !slices.IsSortedFunc(list, byKey) {
			t.Errorf("%q: %d locks, want %d: %+v, %v", prefix, len(list), want, list, err)
		}
		startWatch(t, other, prefix).waitForState(s, prefix)
	}
	for g, want := range map[string]int{"room000/": 2, "room000": 0, "room": 0} {
		if locks, err := other.Group(t.Context(), g); err != nil || len(locks) != want || !slices.IsSortedFunc(locks, byKey) {
			t.Errorf("group %q: %+v, %v", g, locks, err)
		}
	}
}

func release(t *testing.T, s *Store, key, owner string) {
	t.Helper()
	if err := s.Release(t.Context(), key, owner); err != nil {
		t.Fatal(err)
	}
}
