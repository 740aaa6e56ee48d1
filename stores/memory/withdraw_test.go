package memory

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

func TestWithdraw_EndsWaitersOfGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		declare(t, s, disk)
		tryLockMember(t, s, disk, "ann", nil)
		bob := lockMember(t.Context(), s, disk, "bob")
		cleo := startLock(t.Context(), s, "cleo", nil, disk)
		dan := lockMember(t.Context(), s, disk, "dan")
		eve := startLock(t.Context(), s, "eve", nil, "free", disk)
		watching, stopWatching := context.WithCancel(t.Context())
		w := startWatch(watching, s, "")
		withdraw(t, s, disk)
		if m := s.table.waitQueue.queues[disk].members; m != nil {
			t.Errorf("the queue still has members: %v", m)
		}
		checkResult(t, bob, stores.ErrNotDeclared)
		checkResult(t, dan, stores.ErrNotDeclared)
		checkGranted(t, cleo)
		checkWaiting(t, eve)
		if err := s.Unlock(t.Context(), disk, "ann"); !errors.Is(err, stores.ErrNotOwner) {
			t.Errorf("ann's Unlock after Withdraw returned %v", err)
		}
		unlock(t, s, disk, "cleo")
		checkGranted(t, eve)
		w.check(t, "WITHDRAWN team|disk ann", "ACQUIRED team|disk cleo", "RELEASED team|disk cleo",
			"ACQUIRED free eve", "ACQUIRED team|disk eve")
		w.state(t)
		stopWatching()
		synctest.Wait()
		checkNoWaiters(t, s)
	})
}

func TestWithdraw_DeclaredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		declare(t, s, disk)
		ann := tryLockMember(t, s, disk, "ann", nil)
		bob := lockMember(t.Context(), s, disk, "bob")
		withdraw(t, s, disk)
		declare(t, s, disk) // before bob's call returns
		checkResult(t, bob, stores.ErrNotDeclared)
		if next := tryLockMember(t, s, disk, "ann", nil); next.Token <= ann.Token {
			t.Errorf("token %d follows %d", next.Token, ann.Token)
		}
		checkNoWaiters(t, s)
	})
}

func TestWithdraw_DuringRestartGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "30s")
		declare(t, s, disk)
		ann, bob := lockMember(t.Context(), s, disk, "ann"), startLock(t.Context(), s, "bob", nil, disk)
		withdraw(t, s, disk)
		checkResult(t, ann, stores.ErrNotDeclared)
		time.Sleep(30*time.Second - 1)
		checkWaiting(t, bob)
		time.Sleep(time.Nanosecond)
		checkGranted(t, bob)
		checkNoWaiters(t, s)
	})
}

func TestWatch_ExpiryBeforeDeclareAndWithdraw(t *testing.T) {
	for _, row := range []struct {
		name   string
		before bool // whether the lock is declared before
		act    func(t *testing.T, s *Store)
		events []string
	}{
		{"a Declare", false, func(t *testing.T, s *Store) { declare(t, s, disk) }, []string{
			"EXPIRED team|disk ann", "DECLARED team|disk ", "ACQUIRED team|disk bob",
		}},
		{"a Withdraw", true, func(t *testing.T, s *Store) { withdraw(t, s, disk) }, []string{
			"EXPIRED team|disk ann", "WITHDRAWN team|disk ", "ACQUIRED team|disk bob",
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, NewProcess(), "locks", "")
				if row.before {
					declare(t, s, disk)
				}
				tryLock(t, s, disk, "ann", time.Second, true)
				bob := startLock(t.Context(), s, "bob", nil, disk)
				w := startWatch(t.Context(), s, "")
				s.table.alarm.Stop() // it would fire later
				time.Sleep(time.Second)
				row.act(t, s)
				checkGranted(t, bob)
				w.check(t, row.events...)
				w.state(t)
			})
		})
	}
}

func TestWatch_DeclareOfHeldLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		w := startWatch(t.Context(), s, "team|")
		token := tryLock(t, s, disk, "ann", time.Minute, true)
		declare(t, s, disk)
		declare(t, s, gate)
		w.check(t, "ACQUIRED team|disk ann", "DECLARED team|disk ann", "DECLARED team|gate ")
		if got := w.state(t); got[disk] != (lockState{token, time.Hour}) || got[gate] != (lockState{0, time.Hour}) {
			t.Errorf("the state according to the events is %v", got)
		}
		withdraw(t, s, disk)
		withdraw(t, s, gate)
		if got := w.state(t); len(got) > 0 {
			t.Errorf("the state according to the events is %v", got)
		}
		if kinds := w.kinds(); len(kinds) != 6 {
			t.Errorf("the events are %v, want one for each Withdraw", kinds)
		}
	})
}

// goAfterPause calls act in a goroutine, after a random pause.
func goAfterPause(wg *sync.WaitGroup, act func()) {
	pause := rand.IntN(40)
	wg.Go(func() {
		for range pause {
			runtime.Gosched()
		}
		act()
	})
}

func TestLock_RaceOfEnds(t *testing.T) {
	const rounds = 5000
	ends := map[error]int{} // the number of rounds by bob's error
	for range rounds {
		s := open(t, NewProcess(), "locks", "")
		declare(t, s, disk)
		tryLockMember(t, s, disk, "ann", nil)
		w := s.table.subscribe("")
		events := s.table.nextEvents(w)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var bob, released error
		wg.Go(func() { _, bob = s.Lock(ctx, memberRequest(disk, "bob")) })
		goAfterPause(&wg, cancel)
		goAfterPause(&wg, func() { withdraw(t, s, disk) })
		goAfterPause(&wg, func() { _ = s.Unlock(t.Context(), disk, "ann") })
		goAfterPause(&wg, func() { released = s.Release(t.Context(), disk, "bob") })
		wg.Wait()
		if errors.Is(bob, stores.ErrGaveUp) && released != nil {
			t.Errorf("bob's Lock returned %v, and bob's Release %v", bob, released)
		}
		ends[errors.Unwrap(bob)]++
		if state := replay(t, append(events, s.table.nextEvents(w)...)); len(state) > 0 {
			t.Errorf("the state according to the events is %v", state)
		}
		s.table.unsubscribe(w)
		checkEmpty(t, s)
	}
	t.Logf("the errors of %d rounds: %v", rounds, ends)
	for _, end := range []error{nil, context.Canceled, stores.ErrNotDeclared, stores.ErrGaveUp} {
		if ends[end] == 0 {
			t.Errorf("no round failed with %v", end)
		}
		delete(ends, end)
	}
	if len(ends) > 0 {
		t.Errorf("rounds also failed with %v", ends)
	}
}

func TestLock_FailedWaitHoldsNothing(t *testing.T) {
	const rounds, clients = 20_000, 6
	s := open(t, NewProcess(), "locks", "")
	declare(t, s, disk)
	var tokens sync.Map
	var granted, failed atomic.Int64
	var lockers, withdrawer sync.WaitGroup
	done := make(chan struct{})
	for c := range clients {
		lockers.Go(func() {
			owner := fmt.Sprint(c)
			for range rounds / clients {
				token, err := lockMemberWithin(t, s, owner, time.Duration(1+rand.IntN(100))*time.Microsecond)
				switch {
				case err != nil:
					failed.Add(1)
					if err := s.Unlock(t.Context(), disk, owner); err == nil {
						t.Errorf("%s held the lock or waited for it after an error", owner)
					}
				default:
					granted.Add(1)
					if _, twice := tokens.LoadOrStore(token, owner); twice {
						t.Errorf("token %d was granted twice", token)
					}
					_ = s.Unlock(t.Context(), disk, owner)
				}
			}
		})
	}
	withdrawer.Go(func() {
		for ended(t.Context(), done) == nil {
			withdraw(t, s, disk)
			declare(t, s, disk)
			runtime.Gosched()
		}
	})
	lockers.Wait()
	close(done)
	withdrawer.Wait()
	t.Logf("%d granted, %d failed", granted.Load(), failed.Load())
	if granted.Load() == 0 || failed.Load() == 0 {
		t.Error("there was no race")
	}
	withdraw(t, s, disk)
	checkEmpty(t, s)
}

// lockMemberWithin acquires the disk as a member, with a limit for the wait.
func lockMemberWithin(t *testing.T, s *Store, owner string, limit time.Duration) (uint64, error) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	g, err := s.Lock(ctx, memberRequest(disk, owner))
	if g.Acquired != (err == nil) {
		t.Errorf("Lock returned %+v, %v", g, err)
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, stores.ErrNotDeclared) {
		t.Errorf("Lock failed with %v", err)
	}
	return g.Token, err
}
