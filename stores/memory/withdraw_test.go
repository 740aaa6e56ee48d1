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

func TestWithdrawSendsTheGroupAwayAndNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		declare(t, s, disk)
		join(t, s, disk, "ann", nil)
		bob := askTeam(t.Context(), s, disk, "bob")
		cleo := ask(t.Context(), s, "cleo", nil, disk)
		dan := askTeam(t.Context(), s, disk, "dan")
		eve := ask(t.Context(), s, "eve", nil, "free", disk)
		watching, lookAway := context.WithCancel(t.Context())
		w := watch(watching, s, "")
		withdraw(t, s, disk)
		if m := s.table.waitQueue.queues[disk].members; m != nil {
			t.Errorf("the queue still has a place for members: %v", m)
		}
		isAnswered(t, bob, stores.ErrNotDeclared)
		isAnswered(t, dan, stores.ErrNotDeclared)
		isGranted(t, cleo)
		waits(t, eve)
		if err := s.Unlock(t.Context(), disk, "ann"); !errors.Is(err, stores.ErrNotOwner) {
			t.Errorf("ann's Unlock after Withdraw: %v", err)
		}
		release(t, s, disk, "cleo")
		isGranted(t, eve)
		w.is(t, "WITHDRAWN team|disk ann", "ACQUIRED team|disk cleo", "RELEASED team|disk cleo",
			"ACQUIRED free eve", "ACQUIRED team|disk eve")
		w.state(t)
		lookAway()
		synctest.Wait()
		isForgotten(t, s)
	})
}

func TestLockDeclaredAgainIsAnotherOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		declare(t, s, disk)
		ann := join(t, s, disk, "ann", nil)
		bob := askTeam(t.Context(), s, disk, "bob")
		withdraw(t, s, disk)
		declare(t, s, disk) // before bob hears of it
		isAnswered(t, bob, stores.ErrNotDeclared)
		if next := join(t, s, disk, "ann", nil); next.Token <= ann.Token {
			t.Errorf("token %d follows %d", next.Token, ann.Token)
		}
		isForgotten(t, s)
	})
}

func TestWithdrawDuringTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "30s")
		declare(t, s, disk)
		ann, bob := askTeam(t.Context(), s, disk, "ann"), ask(t.Context(), s, "bob", nil, disk)
		withdraw(t, s, disk)
		isAnswered(t, ann, stores.ErrNotDeclared)
		time.Sleep(30*time.Second - 1)
		waits(t, bob)
		time.Sleep(time.Nanosecond)
		isGranted(t, bob)
		isForgotten(t, s)
	})
}

func TestWhatExpiredJustBeforeIsToldFirst(t *testing.T) {
	for _, row := range []struct {
		name   string
		before bool // declared
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
				take(t, s, disk, "ann", time.Second, true)
				bob := ask(t.Context(), s, "bob", nil, disk)
				w := watch(t.Context(), s, "")
				s.table.alarm.Stop() // it is late
				time.Sleep(time.Second)
				row.act(t, s)
				isGranted(t, bob)
				w.is(t, row.events...)
				w.state(t)
			})
		})
	}
}

func TestDeclareTellsWhoHoldsTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		w := watch(t.Context(), s, "team|")
		token := take(t, s, disk, "ann", time.Minute, true)
		declare(t, s, disk)
		declare(t, s, gate)
		w.is(t, "ACQUIRED team|disk ann", "DECLARED team|disk ann", "DECLARED team|gate ")
		if got := w.state(t); got[disk] != (condition{token, time.Hour}) || got[gate] != (condition{0, time.Hour}) {
			t.Errorf("the watcher believes %v", got)
		}
		withdraw(t, s, disk)
		withdraw(t, s, gate)
		if got := w.state(t); len(got) > 0 {
			t.Errorf("the watcher believes %v", got)
		}
		if kinds := w.kinds(); len(kinds) != 6 {
			t.Errorf("a Withdraw is one event, and the watcher was told %v", kinds)
		}
	})
}

// bystander is somebody in a race for the disk, who begins at a moment of his own.
func bystander(wg *sync.WaitGroup, act func()) {
	pause := rand.IntN(40)
	wg.Go(func() {
		for range pause {
			runtime.Gosched()
		}
		act()
	})
}

func TestCancelAgainstWithdrawAgainstGrantAgainstGivingUp(t *testing.T) {
	const rounds = 5000
	ends := map[error]int{} // how often bob's call ended so
	for range rounds {
		s := open(t, NewProcess(), "locks", "")
		declare(t, s, disk)
		join(t, s, disk, "ann", nil)
		w := s.table.subscribe("")
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var bob, gaveUp error
		wg.Go(func() { _, bob = s.Lock(ctx, member(disk, "bob")) })
		bystander(&wg, cancel)
		bystander(&wg, func() { withdraw(t, s, disk) })
		bystander(&wg, func() { _ = s.Unlock(t.Context(), disk, "ann") }) // or it is withdrawn already
		bystander(&wg, func() { gaveUp = s.Unlock(t.Context(), disk, "bob") })
		wg.Wait()
		if errors.Is(bob, stores.ErrGaveUp) && gaveUp != nil {
			t.Errorf("bob's wait ended with %v, and his Unlock with %v", bob, gaveUp)
		}
		ends[errors.Unwrap(bob)]++
		if state := replay(t, s.table.nextEvents(w)); len(state) > 0 {
			t.Errorf("the watcher believes %v", state)
		}
		s.table.unsubscribe(w)
		isEmpty(t, s)
	}
	t.Logf("of %d rounds ended %v", rounds, ends)
	for _, end := range []error{nil, context.Canceled, stores.ErrNotDeclared, stores.ErrGaveUp} {
		if ends[end] == 0 {
			t.Errorf("no round ended with the error %v", end)
		}
		delete(ends, end)
	}
	if len(ends) > 0 {
		t.Errorf("rounds ended with %v too", ends)
	}
}

func TestNobodyHoldsOrWaitsAfterAnError(t *testing.T) {
	const rounds, clients = 20_000, 6
	s := open(t, NewProcess(), "locks", "")
	declare(t, s, disk)
	var tokens sync.Map
	var granted, failed atomic.Int64
	var crowd, others sync.WaitGroup
	done := make(chan struct{})
	for c := range clients {
		crowd.Go(func() {
			owner := fmt.Sprint(c)
			for range rounds / clients {
				token, err := joinWithin(t, s, owner, time.Duration(1+rand.IntN(100))*time.Microsecond)
				switch {
				case err != nil:
					failed.Add(1)
					if err := s.Unlock(t.Context(), disk, owner); err == nil {
						t.Errorf("%s held the lock or waited for it after an error", owner)
					}
				default:
					granted.Add(1)
					if _, twice := tokens.LoadOrStore(token, owner); twice {
						t.Errorf("token %d was given twice", token)
					}
					_ = s.Unlock(t.Context(), disk, owner) // or it is withdrawn already
				}
			}
		})
	}
	others.Go(func() {
		for ended(t.Context(), done) == nil {
			withdraw(t, s, disk)
			declare(t, s, disk)
			runtime.Gosched()
		}
	})
	crowd.Wait()
	close(done)
	others.Wait()
	t.Logf("%d granted, %d not", granted.Load(), failed.Load())
	if granted.Load() == 0 || failed.Load() == 0 {
		t.Error("there was no race")
	}
	withdraw(t, s, disk)
	isEmpty(t, s)
}

// joinWithin takes the disk as one of the team unless that takes longer than the limit.
func joinWithin(t *testing.T, s *Store, owner string, limit time.Duration) (uint64, error) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	g, err := s.Lock(ctx, member(disk, owner))
	if g.Acquired != (err == nil) {
		t.Errorf("Lock answered %+v and %v", g, err)
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, stores.ErrNotDeclared) {
		t.Errorf("Lock failed with %v", err)
	}
	return g.Token, err
}
