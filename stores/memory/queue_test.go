package memory

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// result is the result of Lock or LockAll.
type result struct {
	stores.Grant
	err error
	at  time.Time
}

// startLock starts a call that waits for keys, and returns when it waits or has returned.
// It works only in a bubble.
func startLock(ctx context.Context, s *Store, owner string, holding []string, keys ...string) <-chan result {
	return startCall(func() (stores.Grant, error) {
		return s.LockAll(ctx, stores.MultiRequest{Keys: keys, Owner: owner, TTL: time.Minute, Holding: holding, Wait: true})
	})
}

// startCall starts a call, and returns when it waits or has returned. It works only in a
// bubble.
func startCall(call func() (stores.Grant, error)) <-chan result {
	got := make(chan result, 1)
	go func() {
		g, err := call()
		got <- result{g, err, time.Now()}
	}()
	synctest.Wait()
	return got
}

// checkWaiting checks that the call has not returned.
func checkWaiting(t *testing.T, got <-chan result) {
	t.Helper()
	synctest.Wait()
	if len(got) > 0 {
		t.Errorf("the call returned already: %+v", <-got)
	}
}

// checkGranted checks that the call has returned a grant, and returns it.
func checkGranted(t *testing.T, got <-chan result) result {
	t.Helper()
	return checkResult(t, got, nil)
}

// checkResult checks that the call has returned the error want, or a grant if it is nil.
func checkResult(t *testing.T, got <-chan result, want error) result {
	t.Helper()
	synctest.Wait()
	if len(got) == 0 {
		t.Error("the call has not returned")
		return result{}
	}
	a := <-got
	if !errors.Is(a.err, want) || a.Acquired != (want == nil) {
		t.Errorf("the call returned %+v, want the error %v", a, want)
	}
	return a
}

// unlock releases the lock.
func unlock(t *testing.T, s *Store, key, owner string) {
	t.Helper()
	if err := s.Unlock(t.Context(), key, owner); err != nil {
		t.Error(err)
	}
}

// checkNoWaiters checks that the table has no waiters and no watchers.
func checkNoWaiters(t *testing.T, s *Store) {
	t.Helper()
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	n := s.table.waitQueue
	if len(n.queues)+len(n.waitersByHeldOwner)+len(s.table.watchers.set) > 0 {
		t.Errorf("the table still has %d queues, %d owners in Holding and %d watchers",
			len(n.queues), len(n.waitersByHeldOwner), len(s.table.watchers.set))
	}
}

func TestRestartGrace_KeepsQueueOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProcess()
		s := open(t, p, "locks", "30s")
		var got []<-chan result
		for i := range 5 {
			got = append(got, startLock(t.Context(), s, fmt.Sprint(i), nil, "disk"))
		}
		// Another store without a restart grace does not overtake them.
		tryLock(t, open(t, p, "locks", ""), "disk", "hasty", time.Minute, false)
		time.Sleep(30*time.Second - 1)
		checkWaiting(t, got[0])
		time.Sleep(time.Nanosecond)
		for i, g := range got {
			checkGranted(t, g)
			checkWaiting(t, got[min(i+1, 4)])
			unlock(t, s, "disk", fmt.Sprint(i))
		}
		checkNoWaiters(t, s)
	})
}

func TestRestartGrace_NotEndedByUnlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProcess()
		hasty, s := open(t, p, "locks", ""), open(t, p, "locks", "30s")
		tryLock(t, hasty, "disk", "ann", time.Hour, true)
		got := startLock(t.Context(), s, "bob", nil, "disk")
		unlock(t, hasty, "disk", "ann")
		if locks := listOf(t, s, ""); len(locks) > 0 {
			t.Errorf("still held are %v", locks)
		}
		time.Sleep(30 * time.Second)
		checkGranted(t, got)
	})
}

func TestLock_GrantedAtExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		tryLock(t, s, "other", "ann", time.Second, true) // the alarm would be set for it
		tryLock(t, s, "disk", "ann", 3*time.Second, true)
		began := time.Now()
		bob, eve := startLock(t.Context(), s, "bob", nil, "disk"), startLock(t.Context(), s, "eve", nil, "disk")
		time.Sleep(time.Hour)
		if a := checkGranted(t, bob); a.at.Sub(began) != 3*time.Second {
			t.Errorf("bob acquired it after %v", a.at.Sub(began))
		}
		if a := checkGranted(t, eve); a.at.Sub(began) != 3*time.Second+time.Minute {
			t.Errorf("eve acquired it after %v", a.at.Sub(began))
		}
		checkNoWaiters(t, s)
	})
}

func TestLock_CanceledWaitHoldsNothing(t *testing.T) {
	const rounds, clients = 100_000, 8
	s := open(t, NewProcess(), "locks", "")
	var granted, canceled atomic.Int64
	before := s.table.watchers.revision
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range rounds / clients {
				owner := fmt.Sprint(c, "-", i)
				if err := lockWithin(t, s, owner, time.Duration(1+rand.IntN(100))*time.Microsecond); err == nil {
					granted.Add(1)
					unlock(t, s, "disk", owner)
					continue
				}
				canceled.Add(1)
				if err := s.Unlock(t.Context(), "disk", owner); err == nil {
					t.Errorf("%s was canceled and held the lock", owner)
				}
			}
		})
	}
	wg.Wait()
	changes := s.table.watchers.revision - before
	tooLate := int64(changes/2) - granted.Load() // a grant and its end are two changes
	t.Logf("%d granted, %d canceled, %d of them granted too late", granted.Load(), canceled.Load(), tooLate)
	if granted.Load() == 0 || tooLate == 0 {
		t.Error("there was no race")
	}
	tryLock(t, s, "disk", "last", time.Hour, true)
	checkNoWaiters(t, s)
}

// lockWithin acquires the disk, with a limit for the wait.
func lockWithin(t *testing.T, s *Store, owner string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	g, err := s.Lock(ctx, stores.Request{Key: "disk", Owner: owner, TTL: time.Hour})
	if g.Acquired != (err == nil) || err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock returned %+v, %v", g, err)
	}
	return err
}

func TestLockAll_NotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		tryLock(t, s, "a", "ann", time.Hour, true)
		both := startLock(t.Context(), s, "both", nil, "a", "b")
		late := startLock(t.Context(), s, "late", nil, "b")
		tryLock(t, s, "b", "hasty", time.Hour, false) // free, but it has a waiter
		checkWaiting(t, late)
		unlock(t, s, "a", "ann")
		checkGranted(t, both)
		checkWaiting(t, late)
		unlock(t, s, "b", "both")
		checkGranted(t, late)
		checkNoWaiters(t, s)
	})
}

func TestLockAll_WaitsInEveryQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		tryLock(t, s, "a", "ann", time.Hour, true)
		tryLock(t, s, "c", "ann", time.Hour, true)
		early := startLock(t.Context(), s, "early", nil, "b", "c")
		late := startLock(t.Context(), s, "late", nil, "a", "b")
		unlock(t, s, "a", "ann")
		checkWaiting(t, late) // a and b are free
		unlock(t, s, "c", "ann")
		checkGranted(t, early)
		unlock(t, s, "b", "early")
		checkGranted(t, late)
		checkNoWaiters(t, s)
	})
}

func TestLockAll_CanceledWaitGrantsNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		tryLock(t, s, "a", "ann", time.Hour, true)
		ctx, cancel := context.WithCancel(t.Context())
		gone := startLock(ctx, s, "gone", []string{"gone"}, "c", "a", "b")
		b, c := startLock(t.Context(), s, "bob", nil, "b"), startLock(t.Context(), s, "cleo", nil, "c")
		checkWaiting(t, b)
		checkWaiting(t, c)
		cancel()
		checkResult(t, gone, context.Canceled)
		checkGranted(t, b)
		checkGranted(t, c)
		checkNoWaiters(t, s)
	})
}

func TestLock_AfterShorteningRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		tryLock(t, s, "disk", "ann", time.Hour, true)
		bob := startLock(t.Context(), s, "bob", nil, "disk")
		if _, err := s.Renew(t.Context(), stores.Request{Key: "disk", Owner: "ann", TTL: time.Second}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second - 1)
		checkWaiting(t, bob)
		time.Sleep(time.Nanosecond)
		checkGranted(t, bob)
	})
}

func TestLock_AfterExtendingRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		tryLock(t, s, "disk", "ann", time.Second, true)
		bob := startLock(t.Context(), s, "bob", nil, "disk")
		if _, err := s.Renew(t.Context(), stores.Request{Key: "disk", Owner: "ann", TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - 1)
		checkWaiting(t, bob)
		time.Sleep(time.Nanosecond)
		checkGranted(t, bob)
	})
}

func TestLock_DespiteBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		for i := range 2*reclaimPerSweep + 1 {
			tryLock(t, s, fmt.Sprint(i), "ann", time.Millisecond, true)
		}
		tryLock(t, s, "disk", "ann", time.Second, true)
		time.Sleep(time.Millisecond)
		bob := startLock(t.Context(), s, "bob", nil, "disk")
		time.Sleep(time.Nanosecond) // lets the alarm fire
		s.table.mu.Lock()
		if n := s.table.byKey.Len(); n != 1 {
			t.Errorf("while a call waits the table has %d locks, want 1", n)
		}
		s.table.mu.Unlock()
		time.Sleep(time.Second - time.Millisecond)
		checkGranted(t, bob)
	})
}

func TestLockAll_ReclaimsItsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		for i := range 10 * reclaimPerGrant {
			tryLock(t, s, fmt.Sprint(i), "ann", time.Second, true)
		}
		tryLock(t, s, "a", "ann", time.Second, true) // after a backlog of expired locks
		tryLock(t, s, "b", "ann", time.Second, true)
		time.Sleep(time.Second)
		checkGranted(t, startLock(t.Context(), s, "bob", nil, "b", "a"))
		checkNoWaiters(t, s)
	})
}

func TestClose_EndsWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProcess()
		s, other := open(t, p, "locks", ""), open(t, p, "locks", "")
		tryLock(t, s, "disk", "ann", time.Hour, true)
		first := startLock(t.Context(), s, "first", nil, "disk", "gate")
		stays := startLock(t.Context(), other, "stays", nil, "gate")
		last := startLock(t.Context(), s, "last", nil, "disk")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		checkResult(t, first, stores.ErrClosed)
		checkResult(t, last, stores.ErrClosed)
		checkGranted(t, stays)
		checkResult(t, startLock(t.Context(), s, "after", nil, "free"), stores.ErrClosed)
		tryLock(t, other, "disk", "bob", time.Hour, false) // ann still holds it
		checkNoWaiters(t, other)
	})
}

func TestClose_DuringRestartGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "1h")
		got := startLock(t.Context(), s, "ann", nil, "disk")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		checkResult(t, got, stores.ErrClosed)
		checkNoWaiters(t, s)
	})
}

func TestClose_RaceWithGrant(t *testing.T) {
	for range 1000 {
		p := NewProcess()
		s, other := open(t, p, "locks", ""), open(t, p, "locks", "")
		tryLock(t, other, "disk", "ann", time.Hour, true)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				owner := fmt.Sprint(i)
				_, err := s.Lock(t.Context(), stores.Request{Key: "disk", Owner: owner, TTL: time.Hour})
				switch {
				case err == nil:
					unlock(t, other, "disk", owner)
				case !errors.Is(err, stores.ErrClosed):
					t.Error(err)
				}
			})
		}
		wg.Go(func() { unlock(t, other, "disk", "ann") })
		wg.Go(func() { _ = s.Close() })
		wg.Wait()
		tryLock(t, other, "disk", "next", time.Hour, true)
		checkNoWaiters(t, other)
	}
}

func TestLockAll_ManyClients(t *testing.T) {
	s := open(t, NewProcess(), "locks", "")
	var holders [4]atomic.Int64
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 1))
			for i := range 500 {
				some := r.Perm(len(holders))[:1+r.IntN(len(holders))]
				req := stores.MultiRequest{Owner: fmt.Sprint(c, "-", i), TTL: time.Hour, Wait: true}
				for _, n := range some {
					req.Keys = append(req.Keys, fmt.Sprint(n))
				}
				if _, err := s.LockAll(t.Context(), req); err != nil {
					t.Error(err)
				}
				for _, n := range some {
					if holders[n].Add(1) != 1 {
						t.Errorf("%d has two holders", n)
					}
				}
				for _, n := range some {
					holders[n].Add(-1)
					unlock(t, s, fmt.Sprint(n), req.Owner)
				}
			}
		})
	}
	wg.Wait()
	checkNoWaiters(t, s)
}
