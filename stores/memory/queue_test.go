package memory

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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

// ask starts a call that waits for keys, and returns when it waits or was answered. It works in a bubble only.
func ask(ctx context.Context, s *Store, owner string, holding []string, keys ...string) <-chan answer {
	got := make(chan answer, 1)
	go func() {
		req := stores.MultiRequest{Keys: keys, Owner: owner, TTL: time.Minute, Holding: holding, Wait: true}
		g, err := s.LockAll(ctx, req)
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

// nobodyWaits expects that the table has forgotten everybody who waited or watched.
func nobodyWaits(t *testing.T, s *Store) {
	t.Helper()
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	n := s.table.line
	if len(n.queues)+len(n.keepers)+len(s.table.audience.watchers) > 0 {
		t.Errorf("the table still has %d queues, %d keepers and %d watchers",
			len(n.queues), len(n.keepers), len(s.table.audience.watchers))
	}
}

func TestGraceKeepsTheOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProcess()
		s := open(t, p, "locks", "30s")
		var got []<-chan answer
		for i := range 5 {
			got = append(got, ask(t.Context(), s, fmt.Sprint(i), nil, "door"))
		}
		take(t, open(t, p, "locks", ""), "door", "hasty", time.Minute, false) // has no grace, but they were first
		time.Sleep(30*time.Second - 1)
		waits(t, got[0])
		time.Sleep(1)
		for i, g := range got {
			isGranted(t, g)
			waits(t, got[min(i+1, 4)])
			release(t, s, "door", fmt.Sprint(i))
		}
		nobodyWaits(t, s)
	})
}

func TestExpiredLockGoesToTheNextInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		take(t, s, "other", "ann", time.Second, true) // for which an alarm would be set first
		take(t, s, "door", "ann", 3*time.Second, true)
		began := time.Now()
		bob, eve := ask(t.Context(), s, "bob", nil, "door"), ask(t.Context(), s, "eve", nil, "door")
		time.Sleep(time.Hour)
		if a := isGranted(t, bob); a.at.Sub(began) != 3*time.Second {
			t.Errorf("it went to bob after %v", a.at.Sub(began))
		}
		if a := isGranted(t, eve); a.at.Sub(began) != 3*time.Second+time.Minute {
			t.Errorf("it went to eve after %v", a.at.Sub(began))
		}
		nobodyWaits(t, s)
	})
}

func TestCancelAgainstGrant(t *testing.T) {
	const rounds, clients = 100_000, 4
	s := open(t, NewProcess(), "locks", "")
	var holders, granted, cancelled atomic.Int64
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range rounds / clients {
				owner := fmt.Sprint(c, "-", i)
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					for range rand.IntN(20) {
						holders.Load() // a moment
					}
					cancel()
				}()
				_, err := s.Lock(ctx, stores.Request{Key: "door", Owner: owner, TTL: time.Hour})
				switch {
				case err == nil:
					granted.Add(1)
					if n := holders.Add(1); n != 1 {
						t.Errorf("%d hold the lock", n)
					}
					holders.Add(-1)
					release(t, s, "door", owner)
				case errors.Is(err, context.Canceled):
					cancelled.Add(1)
					if err := s.Unlock(t.Context(), "door", owner); err == nil {
						t.Errorf("%s was cancelled and held the lock", owner)
					}
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d granted, %d cancelled", granted.Load(), cancelled.Load())
	take(t, s, "door", "last", time.Hour, true)
	nobodyWaits(t, s)
}

func TestMultiDoesNotDisturbTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		take(t, s, "a", "ann", time.Hour, true)
		both := ask(t.Context(), s, "both", nil, "a", "b")
		b := ask(t.Context(), s, "late", nil, "b")
		take(t, s, "b", "hasty", time.Hour, false) // free, but awaited
		waits(t, b)
		release(t, s, "a", "ann")
		isGranted(t, both)
		waits(t, b)
		release(t, s, "b", "both")
		isGranted(t, b)
		nobodyWaits(t, s)
	})
}

func TestLeavingLetsTheNextIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		take(t, s, "a", "ann", time.Hour, true)
		ctx, cancel := context.WithCancel(t.Context())
		gone := ask(ctx, s, "gone", nil, "c", "a", "b")
		next := ask(t.Context(), s, "next", nil, "b", "c")
		waits(t, next)
		cancel()
		isAnswered(t, gone, context.Canceled)
		isGranted(t, next)
		nobodyWaits(t, s)
	})
}

func TestRandomWaitersAreAllServed(t *testing.T) {
	s := open(t, NewProcess(), "locks", "")
	keys := []string{"a", "b", "c", "d"}
	held := make([]atomic.Int64, len(keys))
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 1))
			for i := range 500 {
				some := r.Perm(len(keys))[:1+r.IntN(len(keys))]
				var names []string
				for _, k := range some {
					names = append(names, keys[k])
				}
				owner := fmt.Sprint(c, "-", i)
				req := stores.MultiRequest{Keys: names, Owner: owner, TTL: time.Hour, Wait: true}
				if _, err := s.LockAll(t.Context(), req); err != nil {
					t.Error(err)
					return
				}
				for _, k := range some {
					if held[k].Add(1) != 1 {
						t.Errorf("%s is held twice", keys[k])
					}
				}
				for _, k := range slices.Backward(some) {
					held[k].Add(-1)
					release(t, s, keys[k], owner)
				}
			}
		})
	}
	wg.Wait()
	nobodyWaits(t, s)
}
