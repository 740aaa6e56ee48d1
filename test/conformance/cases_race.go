package conformance

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

const (
	callers        = 32               // owners that want one lock
	locksPerCaller = 3                // how often each of them wants it
	stallLimit     = 10 * time.Second // within which one of them must get it
	pollInterval   = 2 * time.Millisecond
)

// raceRows are about many callers at once. They say most under -race.
var raceRows = []row{{
	name: "of a crowd one is let in",
	rule: "Of many that try to take a free lock at once exactly one is granted.",
	check: func(f *fixture) {
		for i := range 5 {
			f.wantOne(callers, f.tryAtOnce(callers, nth("disk", i)))
		}
	},
}, {
	name: "of a crowd one is let in when a lock expires",
	rule: "Of many that try to take an expired lock at once exactly one is granted.",
	check: func(f *fixture) {
		f.open().mustLockFor("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		f.wantOne(callers, f.tryAtOnce(callers, "disk"))
	},
}, {
	name: "of many unlocks one succeeds",
	rule: "One Unlock ends a grant; every other Unlock at the same time fails with ErrNotHeld.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		f.wantOne(callers, concurrently(callers, func(i int) bool {
			err := pick(i, s, other).unlock("disk", "ann")
			f.want(err == nil || errors.Is(err, stores.ErrNotHeld), "Unlock returned %v", err)
			return err == nil
		}))
	},
}, {
	name: "no two hold a lock at once",
	rule: "At most one owner holds a lock at a time, however many take turns through however many clients.",
	check: func(f *fixture) {
		f.tryInTurns()
	},
}, {
	name: "tokens grow in the order of the grants",
	rule: "Two clients of one storage see one order of grants, and it is that of the tokens.",
	check: func(f *fixture) {
		var last uint64
		for _, token := range f.tryInTurns().tokens {
			last = f.wantGreater(token, last)
		}
	},
}, {
	name: "no unlock is lost in a crowd",
	rule: "A lock that its owner gave back is free, also while others ask for it.",
	check: func(f *fixture) {
		got := len(f.tryInTurns().tokens)
		f.want(got == callers*locksPerCaller, "%d of %d turns were had", got, callers*locksPerCaller)
		f.open().mustLock("disk", "ann")
	},
}, {
	name: "many keys at once do not disturb one another",
	rule: "Locks of different keys are independent, also when they are asked for at the same time.",
	check: func(f *fixture) {
		const keys = 4 * callers
		s, other := f.open(), f.open()
		got := concurrently(keys, func(i int) bool {
			for range locksPerCaller {
				pick(i, s, other).mustLock(nth("disk", i), "ann")
				pick(i+1, s, other).mustRefuse(nth("disk", i), "bob")
				pick(i, s, other).mustUnlock(nth("disk", i), "ann")
			}
			return true
		})
		f.want(got == keys, "%d of %d callers came back", got, keys)
	},
}}

// rush lets a crowd of owners try to take one lock at once, and returns how many were
// granted.
func (f *fixture) tryAtOnce(n int, name string) int {
	s, other := f.open(), f.open()
	return concurrently(n, func(i int) bool {
		g, err := pick(i, s, other).tryLock(name, nth("owner", i), lease)
		f.want(err == nil, "TryLock of %q failed: %v", name, err)
		return g.Acquired
	})
}

// oneOf expects one success.
func (f *fixture) wantOne(n, successes int) {
	f.want(successes == 1, "%d of %d succeeded", successes, n)
}

// together calls f n times at once and returns how many calls returned true.
func concurrently(n int, f func(i int) bool) int {
	var successes atomic.Int64
	var callers sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		callers.Go(func() {
			<-start
			if f(i) {
				successes.Add(1)
			}
		})
	}
	close(start)
	callers.Wait()
	return int(successes.Load())
}

// pick deals the callers out to the clients.
func pick[T any](i int, clients ...T) T { return clients[i%len(clients)] }

// history is what happened to one lock while a crowd took turns.
type history struct {
	mu      sync.Mutex
	holders int
	tokens  []uint64 // in the order of the grants
}

// enter returns how many hold the lock now.
func (h *history) enter(token uint64) (holders int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holders++
	h.tokens = append(h.tokens, token)
	return h.holders
}

func (h *history) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holders--
}

// takeTurns lets a crowd of owners poll for one lock, hold it for a moment and give it
// back.
func (f *fixture) tryInTurns() *history {
	h := &history{}
	s, other := f.open(), f.open()
	ctx, progress, stop := f.untilStalled()
	defer stop()
	concurrently(callers, func(i int) bool {
		for range locksPerCaller {
			f.tryUntilGranted(ctx, pick(i, s, other), nth("owner", i), h)
			progress()
		}
		return true
	})
	return h
}

// untilStalled returns a ctx that ends when progress has not been called for patience. So
// a crowd may take as long as the machine needs, if it gets on.
func (f *fixture) untilStalled() (ctx context.Context, progress, stop func()) {
	ctx, cancel := context.WithCancel(f.ctx)
	stalled := time.AfterFunc(stallLimit, cancel)
	return ctx, func() { stalled.Reset(stallLimit) }, func() {
		stalled.Stop()
		cancel()
	}
}

func (f *fixture) tryUntilGranted(ctx context.Context, s store, owner string, h *history) {
	for ctx.Err() == nil {
		g, err := s.tryLock("disk", owner, lease)
		if err != nil {
			f.failf("TryLock by %q failed: %v", owner, err)
			return
		}
		if g.Acquired {
			holders := h.enter(g.Token)
			f.want(holders == 1, "%d owners hold the lock at once", holders)
			time.Sleep(time.Millisecond)
			h.leave()
			s.mustUnlock("disk", owner)
			return
		}
		time.Sleep(pollInterval)
	}
	f.failf("%q did not get the lock, and no other owner did for %v", owner, stallLimit)
}
