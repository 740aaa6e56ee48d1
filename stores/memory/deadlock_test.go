package memory

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// step is a request that waits.
type step struct {
	owner, keys, holding string // keys and holding are separated by spaces
	deadlock             bool
}

var deadlockCases = []struct {
	name  string
	held  []string // owner and key
	steps []step
}{
	{
		name:  "a lock that the requester holds",
		held:  []string{"ann a"},
		steps: []step{{"ann2", "a", "ann", true}},
	},
	{
		name:  "a cycle of two",
		held:  []string{"ann a", "bob b"},
		steps: []step{{"ann2", "b", "ann", false}, {"bob2", "a", "bob", true}},
	},
	{
		name: "a cycle of three",
		held: []string{"ann a", "bob b", "cleo c"},
		steps: []step{
			{"ann2", "b", "ann", false}, {"bob2", "c", "bob", false}, {"cleo2", "a", "cleo", true},
		},
	},
	{
		name:  "a cycle through one of several keys",
		held:  []string{"ann a", "bob b"},
		steps: []step{{"ann2", "x y b", "ann", false}, {"bob2", "v a w", "bob", true}},
	},
	{
		name:  "a cycle through the queue of a free key",
		held:  []string{"ann a"},
		steps: []step{{"bob", "a b", "", false}, {"ann2", "b", "ann", true}},
	},
	{
		name: "a cycle through a waiter further ahead in a queue",
		held: []string{"ann a"},
		steps: []step{
			{"bob", "a b", "", false}, {"cleo", "b", "", false}, {"ann2", "b", "ann", true},
		},
	},
	{
		name:  "a cycle through the second owner in Holding",
		held:  []string{"ann a", "eve e", "bob b"},
		steps: []step{{"ann2", "b", "ann eve", false}, {"bob2", "e", "bob", true}},
	},
	{
		name:  "an owner that is twice in Holding",
		held:  []string{"ann a", "bob b"},
		steps: []step{{"ann2", "b", "ann ann", false}, {"bob2", "a", "bob bob", true}},
	},
	{
		name:  "no deadlock for siblings with the same Holding",
		held:  []string{"ann a", "x x", "y y"},
		steps: []step{{"one", "x", "ann", false}, {"two", "x", "ann", false}, {"three", "y x", "ann", false}},
	},
	{
		name:  "no deadlock for a sibling that waits for another",
		held:  []string{"ann a", "one x", "y y"},
		steps: []step{{"one2", "y", "ann one", false}, {"two", "x", "ann", false}},
	},
	{
		name:  "no deadlock for a later waiter in the same direction",
		held:  []string{"ann a", "bob b"},
		steps: []step{{"ann2", "b", "ann", false}, {"eve2", "a", "eve", false}},
	},
	{
		name:  "no deadlock for a holder without Holding",
		held:  []string{"ann a", "bob b"},
		steps: []step{{"ann2", "b", "", false}, {"bob2", "a", "bob", false}},
	},
	{
		name:  "no deadlock for a holder that waits for its own lock without Holding",
		held:  []string{"ann a"},
		steps: []step{{"ann", "a", "", false}, {"bob", "a", "bob", false}},
	},
}

func TestDeadlock(t *testing.T) {
	for _, row := range deadlockCases {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, NewProcess(), "locks", "")
				for _, l := range row.held {
					owner, key, _ := strings.Cut(l, " ")
					tryLock(t, s, key, owner, time.Hour, true)
				}
				runSteps(t, s, row.steps)
			})
		})
	}
}

// runSteps checks that each step waits or fails with ErrDeadlock, as it says.
func runSteps(t *testing.T, s *Store, steps []step) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	for _, step := range steps {
		got := startLock(ctx, s, step.owner, strings.Fields(step.holding), strings.Fields(step.keys)...)
		if step.deadlock {
			checkResult(t, got, stores.ErrDeadlock)
		} else {
			checkWaiting(t, got)
		}
	}
	cancel()
	synctest.Wait()
	checkNoWaiters(t, s)
}

func TestDeadlock_ExpiredHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		tryLock(t, s, "b", "bob", time.Hour, true)
		tryLock(t, s, "a", "ann", time.Second, true)
		ann := startLock(t.Context(), s, "ann2", []string{"ann"}, "b")
		time.Sleep(time.Second)
		checkGranted(t, startLock(t.Context(), s, "bob2", []string{"bob"}, "a"))
		unlock(t, s, "b", "bob")
		checkGranted(t, ann)
		checkNoWaiters(t, s)
	})
}

func TestDeadlock_ExpiredHolderNotReclaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		tryLock(t, s, "a", "ann", time.Second, true)
		s.table.mu.Lock()
		defer s.table.mu.Unlock()
		w := &waiter{request: singleRequest(&stores.Request{Owner: "bob", Holding: []string{"ann"}}, []string{"a"})}
		s.table.waitQueue.join(w)
		now := time.Now()
		if !s.table.deadlocked(w, now) || s.table.deadlocked(w, now.Add(time.Second)) {
			t.Error("want a deadlock as long as ann holds the lock, and no longer")
		}
	})
}

// A cycle can arise unnoticed if a Holding contains an owner that acquires its lock
// later.
func TestDeadlock_CycleOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		tryLock(t, s, "a", "ann", time.Hour, true)
		tryLock(t, s, "b", "bob", time.Hour, true)
		ctx, cancel := context.WithCancel(t.Context())
		startLock(ctx, s, "eve", []string{"later"}, "a")
		later := startLock(ctx, s, "later", nil, "b")
		checkWaiting(t, startLock(ctx, s, "ann2", []string{"ann"}, "b"))
		unlock(t, s, "b", "bob")
		// A cycle: ann2 waits for later, eve holds later's lock and waits for ann, and
		// ann2 holds ann's lock.
		checkGranted(t, later)

		checkWaiting(t, startLock(ctx, s, "cleo2", []string{"cleo"}, "a"))
		cancel()
		synctest.Wait()
		checkNoWaiters(t, s)
	})
}

func TestDeadlock_EndsWithWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		tryLock(t, s, "a", "ann", time.Hour, true)
		tryLock(t, s, "b", "bob", time.Hour, true)
		ctx, cancel := context.WithCancel(t.Context())
		startLock(ctx, s, "ann2", []string{"ann"}, "b")
		checkResult(t, startLock(t.Context(), s, "bob2", []string{"bob"}, "a"), stores.ErrDeadlock)
		cancel()
		synctest.Wait()
		bob := startLock(t.Context(), s, "bob2", []string{"bob"}, "a")
		checkWaiting(t, bob)
		unlock(t, s, "a", "ann")
		checkGranted(t, bob)
		checkNoWaiters(t, s)
	})
}

func TestDeadlock_LeavesQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		for i := range 3 {
			tryLock(t, s, fmt.Sprint(i), "ann", time.Hour, true)
		}
		checkResult(t, startLock(t.Context(), s, "ann2", []string{"ann"}, "0", "1", "2"), stores.ErrDeadlock)
		checkNoWaiters(t, s)
	})
}
