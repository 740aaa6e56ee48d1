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

// step is a request that waits: by whom, what for, and which owners' locks it keeps.
type step struct {
	owner, keys, holding string // the last two with spaces between
	deadlock             bool
}

var situations = []struct {
	name  string
	held  []string // owner and key
	steps []step
}{
	{
		name:  "a lock that the asker keeps",
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
		name:  "a cycle through the queue of a vacant key",
		held:  []string{"ann a"},
		steps: []step{{"bob", "a b", "", false}, {"ann2", "b", "ann", true}},
	},
	{
		name: "a cycle through somebody further ahead in a queue",
		held: []string{"ann a"},
		steps: []step{
			{"bob", "a b", "", false}, {"cleo", "b", "", false}, {"ann2", "b", "ann", true},
		},
	},
	{
		name:  "a cycle through the second of the locks that are kept",
		held:  []string{"ann a", "eve e", "bob b"},
		steps: []step{{"ann2", "b", "ann eve", false}, {"bob2", "e", "bob", true}},
	},
	{
		name:  "a lock that the asker keeps, told twice",
		held:  []string{"ann a", "bob b"},
		steps: []step{{"ann2", "b", "ann ann", false}, {"bob2", "a", "bob bob", true}},
	},
	{
		name:  "no deadlock for siblings that keep the same lock",
		held:  []string{"ann a", "x x", "y y"},
		steps: []step{{"one", "x", "ann", false}, {"two", "x", "ann", false}, {"three", "y x", "ann", false}},
	},
	{
		name:  "no deadlock for a sibling that waits for another",
		held:  []string{"ann a", "one x", "y y"},
		steps: []step{{"one2", "y", "ann one", false}, {"two", "x", "ann", false}},
	},
	{
		name:  "no deadlock for one who comes later in the same direction",
		held:  []string{"ann a", "bob b"},
		steps: []step{{"ann2", "b", "ann", false}, {"eve2", "a", "eve", false}},
	},
	{
		name:  "no deadlock for a holder who keeps nothing",
		held:  []string{"ann a", "bob b"},
		steps: []step{{"ann2", "b", "", false}, {"bob2", "a", "bob", false}},
	},
	{
		name:  "no deadlock for a holder who waits for its own lock without saying so",
		held:  []string{"ann a"},
		steps: []step{{"ann", "a", "", false}, {"bob", "a", "bob", false}},
	},
}

func TestDeadlocks(t *testing.T) {
	for _, row := range situations {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, NewProcess(), "locks", "")
				for _, l := range row.held {
					owner, key, _ := strings.Cut(l, " ")
					take(t, s, key, owner, time.Hour, true)
				}
				runSteps(t, s, row.steps)
			})
		})
	}
}

// runSteps expects each step to wait or to be a deadlock, whichever it says.
func runSteps(t *testing.T, s *Store, steps []step) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	for _, step := range steps {
		got := ask(ctx, s, step.owner, strings.Fields(step.holding), strings.Fields(step.keys)...)
		if step.deadlock {
			isAnswered(t, got, stores.ErrDeadlock)
		} else {
			waits(t, got)
		}
	}
	cancel()
	synctest.Wait()
	isForgotten(t, s)
}

func TestExpiredHolderIsNoDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		take(t, s, "b", "bob", time.Hour, true)
		take(t, s, "a", "ann", time.Second, true)
		ann := ask(t.Context(), s, "ann2", []string{"ann"}, "b")
		time.Sleep(time.Second)
		isGranted(t, ask(t.Context(), s, "bob2", []string{"bob"}, "a"))
		release(t, s, "b", "bob")
		isGranted(t, ann)
		isForgotten(t, s)
	})
}

func TestExpiredHolderIsNoDeadlockBeforeItIsCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		take(t, s, "a", "ann", time.Second, true)
		s.table.mu.Lock()
		defer s.table.mu.Unlock()
		w := &waiter{request: single(&stores.Request{Owner: "bob", Holding: []string{"ann"}}, []string{"a"})}
		s.table.waitQueue.join(w)
		now := time.Now()
		if !s.table.deadlocked(w, now) || s.table.deadlocked(w, now.Add(time.Second)) {
			t.Error("it is a deadlock for as long as ann holds the lock, and no longer")
		}
	})
}

// A request that names an owner which comes to hold a lock only later can close a cycle
// without a word.
func TestSearchEndsInTheDeadlockOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		take(t, s, "a", "ann", time.Hour, true)
		take(t, s, "b", "bob", time.Hour, true)
		ctx, cancel := context.WithCancel(t.Context())
		ask(ctx, s, "eve", []string{"later"}, "a")
		later := ask(ctx, s, "later", nil, "b")
		waits(t, ask(ctx, s, "ann2", []string{"ann"}, "b"))
		release(t, s, "b", "bob")
		isGranted(t, later) // ann2 waits for later, eve keeps that and waits for ann, whom ann2 keeps

		waits(t, ask(ctx, s, "cleo2", []string{"cleo"}, "a"))
		cancel()
		synctest.Wait()
		isForgotten(t, s)
	})
}

func TestDeadlockHasGoneWithItsWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		take(t, s, "a", "ann", time.Hour, true)
		take(t, s, "b", "bob", time.Hour, true)
		ctx, cancel := context.WithCancel(t.Context())
		ask(ctx, s, "ann2", []string{"ann"}, "b")
		isAnswered(t, ask(t.Context(), s, "bob2", []string{"bob"}, "a"), stores.ErrDeadlock)
		cancel()
		synctest.Wait()
		bob := ask(t.Context(), s, "bob2", []string{"bob"}, "a")
		waits(t, bob)
		release(t, s, "a", "ann")
		isGranted(t, bob)
		isForgotten(t, s)
	})
}

func TestRefusedDeadlockLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		for i := range 3 {
			take(t, s, fmt.Sprint(i), "ann", time.Hour, true)
		}
		isAnswered(t, ask(t.Context(), s, "ann2", []string{"ann"}, "0", "1", "2"), stores.ErrDeadlock)
		isForgotten(t, s)
	})
}
