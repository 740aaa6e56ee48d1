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

// answer is what a Lock or LockAll returned.
type answer struct {
	stores.Grant
	err error
	at  time.Time
}

// ask starts a call that waits for keys, and returns when it waits or was answered. It
// works in a bubble only.
func ask(ctx context.Context, s *Store, owner string, holding []string, keys ...string) <-chan answer {
	return start(func() (stores.Grant, error) {
		return s.LockAll(ctx, stores.MultiRequest{Keys: keys, Owner: owner, TTL: time.Minute, Holding: holding, Wait: true})
	})
}

// start starts a call, and returns when it waits or was answered. It works in a bubble
// only.
func start(call func() (stores.Grant, error)) <-chan answer {
	got := make(chan answer, 1)
	go func() {
		g, err := call()
		got <- answer{g, err, time.Now()}
	}()
	synctest.Wait()
	return got
}

// waits expects no answer yet.
func waits(t *testing.T, got <-chan answer) {
	t.Helper()
	synctest.Wait()
	if len(got) > 0 {
		t.Errorf("there is an answer already: %+v", <-got)
	}
}

// isGranted expects that the answer is there, a grant, and returns it.
func isGranted(t *testing.T, got <-chan answer) answer {
	t.Helper()
	return isAnswered(t, got, nil)
}

// isAnswered expects that the answer is there and that its error is want.
func isAnswered(t *testing.T, got <-chan answer, want error) answer {
	t.Helper()
	synctest.Wait()
	if len(got) == 0 {
		t.Error("there is no answer yet")
		return answer{}
	}
	a := <-got
	if !errors.Is(a.err, want) || a.Acquired != (want == nil) {
		t.Errorf("the answer is %+v, want the error %v", a, want)
	}
	return a
}

// release expects Unlock to succeed.
func release(t *testing.T, s *Store, key, owner string) {
	t.Helper()
	if err := s.Unlock(t.Context(), key, owner); err != nil {
		t.Error(err)
	}
}

// isForgotten expects that nothing is left in the table of those who waited and watched.
func isForgotten(t *testing.T, s *Store) {
	t.Helper()
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	n := s.table.waitQueue
	if len(n.queues)+len(n.waitersByHeldOwner)+len(s.table.watchers.set) > 0 {
		t.Errorf("the table still has %d queues, %d keepers and %d watchers",
			len(n.queues), len(n.waitersByHeldOwner), len(s.table.watchers.set))
	}
}

func TestGraceKeepsTheOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProcess()
		s := open(t, p, "locks", "30s")
		var got []<-chan answer
		for i := range 5 {
			got = append(got, ask(t.Context(), s, fmt.Sprint(i), nil, "disk"))
		}
		take(t, open(t, p, "locks", ""), "disk", "hasty", time.Minute, false) // has no grace, but they were first
		time.Sleep(30*time.Second - 1)
		waits(t, got[0])
		time.Sleep(time.Nanosecond)
		for i, g := range got {
			isGranted(t, g)
			waits(t, got[min(i+1, 4)])
			release(t, s, "disk", fmt.Sprint(i))
		}
		isForgotten(t, s)
	})
}

func TestGraceIsNotEndedByAnUnlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProcess()
		hasty, s := open(t, p, "locks", ""), open(t, p, "locks", "30s")
		take(t, hasty, "disk", "ann", time.Hour, true)
		got := ask(t.Context(), s, "bob", nil, "disk")
		release(t, hasty, "disk", "ann")
		if locks := listOf(t, s, ""); len(locks) > 0 {
			t.Errorf("held are %v", locks)
		}
		time.Sleep(30 * time.Second)
		isGranted(t, got)
	})
}

func TestExpiredLockGoesToTheNextInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		take(t, s, "other", "ann", time.Second, true) // for which an alarm would be set first
		take(t, s, "disk", "ann", 3*time.Second, true)
		began := time.Now()
		bob, eve := ask(t.Context(), s, "bob", nil, "disk"), ask(t.Context(), s, "eve", nil, "disk")
		time.Sleep(time.Hour)
		if a := isGranted(t, bob); a.at.Sub(began) != 3*time.Second {
			t.Errorf("it went to bob after %v", a.at.Sub(began))
		}
		if a := isGranted(t, eve); a.at.Sub(began) != 3*time.Second+time.Minute {
			t.Errorf("it went to eve after %v", a.at.Sub(began))
		}
		isForgotten(t, s)
	})
}

func TestNobodyHoldsAfterACancelledWait(t *testing.T) {
	const rounds, clients = 100_000, 8
	s := open(t, NewProcess(), "locks", "")
	var granted, cancelled atomic.Int64
	before := s.table.watchers.revision
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range rounds / clients {
				owner := fmt.Sprint(c, "-", i)
				if err := lockWithin(t, s, owner, time.Duration(1+rand.IntN(100))*time.Microsecond); err == nil {
					granted.Add(1)
					release(t, s, "disk", owner)
					continue
				}
				cancelled.Add(1)
				if err := s.Unlock(t.Context(), "disk", owner); err == nil {
					t.Errorf("%s was cancelled and held the lock", owner)
				}
			}
		})
	}
	wg.Wait()
	changes := s.table.watchers.revision - before
	tooLate := int64(changes/2) - granted.Load() // a grant and its end are two changes
	t.Logf("%d granted, %d cancelled, %d of them granted too late", granted.Load(), cancelled.Load(), tooLate)
	if granted.Load() == 0 || tooLate == 0 {
		t.Error("there was no race")
	}
	take(t, s, "disk", "last", time.Hour, true)
	isForgotten(t, s)
}

// lockWithin takes the disk unless that takes longer than the limit.
func lockWithin(t *testing.T, s *Store, owner string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	g, err := s.Lock(ctx, stores.Request{Key: "disk", Owner: owner, TTL: time.Hour})
	if g.Acquired != (err == nil) || err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock answered %+v and %v", g, err)
	}
	return err
}

func TestWhoWaitsForSeveralKeysIsNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		take(t, s, "a", "ann", time.Hour, true)
		both := ask(t.Context(), s, "both", nil, "a", "b")
		late := ask(t.Context(), s, "late", nil, "b")
		take(t, s, "b", "hasty", time.Hour, false) // vacant, but awaited
		waits(t, late)
		release(t, s, "a", "ann")
		isGranted(t, both)
		waits(t, late)
		release(t, s, "b", "both")
		isGranted(t, late)
		isForgotten(t, s)
	})
}

func TestWhoIsFirstForOneKeyWaitsForItsTurnAtAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		take(t, s, "a", "ann", time.Hour, true)
		take(t, s, "c", "ann", time.Hour, true)
		early := ask(t.Context(), s, "early", nil, "b", "c")
		late := ask(t.Context(), s, "late", nil, "a", "b")
		release(t, s, "a", "ann")
		waits(t, late) // a and b are vacant
		release(t, s, "c", "ann")
		isGranted(t, early)
		release(t, s, "b", "early")
		isGranted(t, late)
		isForgotten(t, s)
	})
}

func TestLeavingLetsThoseBehindIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		take(t, s, "a", "ann", time.Hour, true)
		ctx, cancel := context.WithCancel(t.Context())
		gone := ask(ctx, s, "gone", []string{"gone"}, "c", "a", "b")
		b, c := ask(t.Context(), s, "bob", nil, "b"), ask(t.Context(), s, "cleo", nil, "c")
		waits(t, b)
		waits(t, c)
		cancel()
		isAnswered(t, gone, context.Canceled)
		isGranted(t, b)
		isGranted(t, c)
		isForgotten(t, s)
	})
}

func TestShorterLeaseIsHandedOverEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		take(t, s, "disk", "ann", time.Hour, true)
		bob := ask(t.Context(), s, "bob", nil, "disk")
		if _, err := s.Renew(t.Context(), stores.Request{Key: "disk", Owner: "ann", TTL: time.Second}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second - 1)
		waits(t, bob)
		time.Sleep(time.Nanosecond)
		isGranted(t, bob)
	})
}

func TestLongerLeaseIsHandedOverLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		take(t, s, "disk", "ann", time.Second, true)
		bob := ask(t.Context(), s, "bob", nil, "disk")
		if _, err := s.Renew(t.Context(), stores.Request{Key: "disk", Owner: "ann", TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - 1)
		waits(t, bob)
		time.Sleep(time.Nanosecond)
		isGranted(t, bob)
	})
}

func TestBacklogDoesNotHoldUpTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		for i := range 2*reclaimPerSweep + 1 {
			take(t, s, fmt.Sprint(i), "ann", time.Millisecond, true)
		}
		take(t, s, "disk", "ann", time.Second, true)
		time.Sleep(time.Millisecond)
		bob := ask(t.Context(), s, "bob", nil, "disk")
		time.Sleep(time.Nanosecond) // for the alarm
		s.table.mu.Lock()
		if n := s.table.byKey.Len(); n != 1 {
			t.Errorf("somebody waits, and the table still has %d locks", n)
		}
		s.table.mu.Unlock()
		time.Sleep(time.Second - time.Millisecond)
		isGranted(t, bob)
	})
}

func TestExpiredLockInTheWayIsCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		for i := range 10 * reclaimPerGrant {
			take(t, s, fmt.Sprint(i), "ann", time.Second, true)
		}
		take(t, s, "a", "ann", time.Second, true) // behind a backlog
		take(t, s, "b", "ann", time.Second, true)
		time.Sleep(time.Second)
		isGranted(t, ask(t.Context(), s, "bob", nil, "b", "a"))
		isForgotten(t, s)
	})
}

func TestCloseSendsItsOwnWaitersAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProcess()
		s, other := open(t, p, "locks", ""), open(t, p, "locks", "")
		take(t, s, "disk", "ann", time.Hour, true)
		first := ask(t.Context(), s, "first", nil, "disk", "gate")
		stays := ask(t.Context(), other, "stays", nil, "gate")
		last := ask(t.Context(), s, "last", nil, "disk")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		isAnswered(t, first, stores.ErrClosed)
		isAnswered(t, last, stores.ErrClosed)
		isGranted(t, stays)
		isAnswered(t, ask(t.Context(), s, "after", nil, "free"), stores.ErrClosed)
		take(t, other, "disk", "bob", time.Hour, false) // still ann's
		isForgotten(t, other)
	})
}

func TestCloseDuringTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "1h")
		got := ask(t.Context(), s, "ann", nil, "disk")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		isAnswered(t, got, stores.ErrClosed)
		isForgotten(t, s)
	})
}

func TestCloseAgainstGrant(t *testing.T) {
	for range 1000 {
		p := NewProcess()
		s, other := open(t, p, "locks", ""), open(t, p, "locks", "")
		take(t, other, "disk", "ann", time.Hour, true)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				owner := fmt.Sprint(i)
				_, err := s.Lock(t.Context(), stores.Request{Key: "disk", Owner: owner, TTL: time.Hour})
				switch {
				case err == nil:
					release(t, other, "disk", owner)
				case !errors.Is(err, stores.ErrClosed):
					t.Error(err)
				}
			})
		}
		wg.Go(func() { release(t, other, "disk", "ann") })
		wg.Go(func() { _ = s.Close() })
		wg.Wait()
		take(t, other, "disk", "next", time.Hour, true)
		isForgotten(t, other)
	}
}

func TestManyWhoTakeSeveralLocksAreAllServed(t *testing.T) {
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
						t.Errorf("%d is held twice", n)
					}
				}
				for _, n := range some {
					holders[n].Add(-1)
					release(t, s, fmt.Sprint(n), req.Owner)
				}
			}
		})
	}
	wg.Wait()
	isForgotten(t, s)
}
