package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// TestDeclare_LostAnswers loses the answers to requests, which are repeated.
func TestDeclare_LostAnswers(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	proxy := servers.StartProxy(t, server.Addr)
	s, direct := openStore(t, "redisHost", proxy.Addr), openStore(t, "redisHost", server.Addr)
	declare(t, s, group, "g/k", time.Minute) // loads the scripts into Redis
	lockDeclared(t, s, "g/k", "o")
	withdraw(t, s, group, "g/k")
	declaration := stores.Declaration{Group: group, Key: "g/k", TTL: time.Minute, Limit: 1}
	for _, row := range []struct {
		name string
		do   func() error
		want error
		held string // the holder afterwards
	}{
		{"declare", func() error { return s.Declare(t.Context(), declaration) }, nil, ""},
		{"declare once more", func() error { return s.Declare(t.Context(), declaration) }, stores.ErrDeclared, ""},
		{"take", func() error { return grantErr(s.TryLock(t.Context(), member("g/k", "o"))) }, nil, "o"},
		{"take once more", func() error { return grantErr(s.TryLock(t.Context(), member("g/k", "o"))) }, stores.ErrRepeated, "o"},
		{"withdraw", func() error { return s.Withdraw(t.Context(), group, "g/k") }, stores.ErrNotDeclared, ""},
	} {
		eventually(t, "the earlier answers are lost", proxy.Lost)
		proxy.LoseAnswers(1)
		if err := row.do(); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", row.name, err)
		}
		if !proxy.Lost() {
			t.Fatalf("%s: no answer was lost", row.name)
		}
		if owner := direct.client.Get(t.Context(), "g/k").Val(); owner != row.held {
			t.Errorf("%s: held by %q", row.name, owner)
		}
	}
	onlyTheTokenIsLeft(t, direct)
}

func grantErr(_ stores.Grant, err error) error { return err }

func TestDeclare_RedisRestarts(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	a, b := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	declare(t, a, group, "g/k", time.Minute)
	lockDeclared(t, a, "g/k", "holder")
	stays := startLock(t, b, member("g/k", "stays"), 1)
	server.Stop()
	server.Start()
	eventually(t, "the waiter is queued", func() bool {
		n, err := a.client.ZCard(t.Context(), "mortise:queue:g/k").Result()
		return err == nil && n == 1
	})
	unlock(t, a, "g/k", "holder")
	stays.granted()
	goes := startLock(t, b, member("g/k", "goes"), 1)
	a.client.FlushAll(t.Context())
	goes.failsWith(stores.ErrNotDeclared)
}

func TestDeclaredLock_ProcessKilled(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	declare(t, s, group, "g/k", time.Minute)
	lockDeclared(t, s, "g/k", "holder")
	process := startProcess(t, s, server.Addr, group, "g/k")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := s.Lock(ctx, member("g/k", "child 1")); !errors.Is(err, stores.ErrRepeated) {
		t.Errorf("while the process is alive: %v", err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the owner can request the lock", func() bool {
		return !errors.Is(grantErr(s.TryLock(t.Context(), member("g/k", "child 1"))), stores.ErrRepeated)
	})
	// The two dead waiters are still queued.
	w := startLock(t, s, member("g/k", "child 1"), 3)
	unlock(t, s, "g/k", "holder")
	w.granted()
	unlock(t, s, "g/k", "child 1")
	withdraw(t, s, group, "g/k")
	onlyTheTokenIsLeft(t, s)
}

func TestDeclaredLock_WaiterCutOff(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	proxy := servers.StartProxy(t, server.Addr)
	cutOff, s := openStore(t, "redisHost", proxy.Addr), openStore(t, "redisHost", server.Addr)
	declare(t, s, group, "g/k", time.Minute)
	lockDeclared(t, s, "g/k", "holder")
	both := []*lockCall{}
	for i, owner := range []string{"ann", "bob"} {
		both = append(both, start(t, s, i+1, "g/k", func(ctx context.Context) (stores.Grant, error) {
			return cutOff.Lock(ctx, member("g/k", owner))
		}))
	}
	reconnect := proxy.Cut()
	release(t, s, "g/k", "ann")
	withdraw(t, s, group, "g/k")
	declare(t, s, group, "g/k", time.Minute)
	for _, w := range both {
		if !w.isWaiting() {
			t.Error("a wait ended while Redis was unreachable")
		}
	}
	reconnect()
	both[0].failsWith(stores.ErrGaveUp)
	both[1].failsWith(stores.ErrNotDeclared)
	withdraw(t, s, group, "g/k")
	onlyTheTokenIsLeft(t, s)
}

// TestRace_GrantOrCancelWait hands locks to waiters while their owners unlock, or while
// the locks are withdrawn.
func TestRace_GrantOrCancelWait(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	both := []*Store{openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)}
	rounds := raceRounds(t, 400) // of each worker
	var granted, ended atomic.Int64
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() { // t.Fatal in a helper ends the other workers too
			for round := range rounds {
				r := raceRound{t: t, name: fmt.Sprint("worker ", worker, ", round ", round), key: fmt.Sprint("g/", worker),
					waitsIn: both[worker%2], other: both[worker/2], withdraws: round%2 == 0}
				if r.run() == nil {
					granted.Add(1)
				} else {
					ended.Add(1)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d granted, %d ended", granted.Load(), ended.Load())
	if granted.Load() == 0 || ended.Load() == 0 {
		t.Error("must have grants and ends")
	}
	onlyTheTokenIsLeft(t, both[0])
}

// raceRound is one race between the hand-over of a declared lock to a waiter and the end
// of its wait.
type raceRound struct {
	t              *testing.T
	name, key      string
	waitsIn, other *Store // the waiter's store, and that of the other calls
	withdraws      bool   // else the owner calls Release
}

// run runs the round and returns the error of Lock.
func (r raceRound) run() error {
	declare(r.t, r.other, group, r.key, time.Minute)
	lockDeclared(r.t, r.other, r.key, "holder")
	locked, freed, ended := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { locked <- grantErr(r.waitsIn.Lock(r.t.Context(), member(r.key, "o"))) }()
	time.Sleep(rand.N(600 * time.Microsecond))
	go func() { freed <- r.other.Unlock(r.t.Context(), r.key, "holder") }()
	time.Sleep(rand.N(600 * time.Microsecond))
	go func() { ended <- r.end() }()
	err := <-locked
	r.check(err, <-freed, <-ended)
	return err
}

func (r raceRound) end() error {
	if r.withdraws {
		return r.other.Withdraw(r.t.Context(), group, r.key)
	}
	return r.other.Release(r.t.Context(), r.key, "o")
}

// check compares the errors of Lock, the holder's Unlock and the end, and cleans up.
func (r raceRound) check(locked, freed, ended error) {
	if r.withdraws {
		if ended != nil || locked != nil && !errors.Is(locked, stores.ErrNotDeclared) {
			r.t.Errorf("%s: withdrawn with %v, lock: %v", r.name, ended, locked)
		}
	} else if freed != nil || (locked != nil) && (ended != nil) || locked != nil && !errors.Is(locked, stores.ErrGaveUp) {
		r.t.Errorf("%s: unlocked with %v, cancelled with %v, lock: %v", r.name, freed, ended, locked)
	} else {
		if ended != nil { // before the wait began
			unlock(r.t, r.waitsIn, r.key, "o")
		}
		withdraw(r.t, r.waitsIn, group, r.key)
	}
	if owner := r.waitsIn.client.Get(r.t.Context(), r.key).Val(); owner != "" {
		r.t.Errorf("%s: %q holds the lock", r.name, owner)
	}
}

// abandonWaiter queues an owner for "g/k" in a store that sends no heartbeat, and returns
// the waiter's id.
func abandonWaiter(t *testing.T, dead *Store, owner string) (id string) {
	t.Helper()
	w := dead.newSingleWaiter(member("g/k", owner))
	if g, err := dead.request(t.Context(), w, true); err != nil || g.Acquired {
		t.Fatal(g, err)
	}
	dead.client.Del(t.Context(), "mortise:process:"+dead.id)
	return w.id
}

// TestRelease_DeadWaiter calls Release for owners that neither hold nor wait for the
// lock, because their process is dead.
func TestRelease_DeadWaiter(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, dead := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	declare(t, s, group, "g/k", time.Minute)
	lockDeclared(t, s, "g/k", "holder")
	abandonWaiter(t, dead, "ann")
	long := abandonWaiter(t, dead, "bob")
	abandonWaiter(t, dead, "cid")
	s.client.Del(t.Context(), "mortise:waiter:"+long) // as if it had expired
	alive := startLock(t, s, member("g/k", "alive"), 4)
	for _, owner := range []string{"ann", "bob"} {
		if err := s.Release(t.Context(), "g/k", owner); !errors.Is(err, stores.ErrNotOwner) {
			t.Errorf("release by %s: %v", owner, err)
		}
	}
	startLock(t, s, member("g/k", "last"), 3)
	unlock(t, s, "g/k", "holder")
	alive.granted()
	if names := s.client.HKeys(t.Context(), "mortise:waiting:g/k").Val(); len(names) != 1 || names[0] != "last" {
		t.Errorf("mortise:waiting has %q", names)
	}
}

// TestDeclaredLock_DeadWaiterWithoutData covers dead waiters whose data Redis has lost.
func TestDeclaredLock_DeadWaiterWithoutData(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, dead := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	declare(t, s, group, "g/k", time.Minute)
	lockDeclared(t, s, "g/k", "holder")
	id := abandonWaiter(t, dead, "ann")
	s.client.Del(t.Context(), "mortise:waiter:"+id)
	startLock(t, s, request("g/k", "bob", time.Minute), 2)
	last := startLock(t, s, member("g/k", "last"), 3)
	unlock(t, s, "g/k", "holder")
	if names := s.client.HKeys(t.Context(), "mortise:waiting:g/k").Val(); len(names) != 1 || names[0] != "last" {
		t.Errorf("mortise:waiting has %q", names)
	}
	unlock(t, s, "g/k", "bob")
	last.granted()
}

// TestDeclaredLock_LateClaim claims a lock after its reservation has expired, without
// other waiters.
func TestDeclaredLock_LateClaim(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	a, b := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	declare(t, a, group, "g/k", time.Minute)
	w := a.newSingleWaiter(member("g/k", "ann"))
	lockDeclared(t, b, "g/k", "holder")
	if g, err := a.request(t.Context(), w, true); err != nil || g.Acquired {
		t.Fatal(g, err)
	}
	messages := server.Client().Subscribe(t.Context(), wakePrefix+a.id)
	if _, err := messages.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	unlock(t, b, "g/k", "holder")
	a.client.Del(t.Context(), "g/k", recordPrefix+"g/k") // as if they had expired
	if g, err := a.request(t.Context(), w, true); err != nil || !g.Acquired {
		t.Fatal("the late claim", g, err)
	}
	if err := b.Revoke(t.Context(), "g/k", "ann"); err != nil {
		t.Fatal(err)
	}
	if err := b.Unlock(t.Context(), "g/k", "ann"); !errors.Is(err, stores.ErrNotHeld) {
		t.Errorf("unlock of a revoked lock: %v", err)
	}
}
