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
	callers        = 32               // concurrent owners of one lock
	locksPerCaller = 3                // how often each of them acquires it
	stallLimit     = 10 * time.Second // the limit for the next grant to any of them
	pollInterval   = 2 * time.Millisecond
)

// raceRows test concurrent calls. Run them under -race.
var raceRows = []row{{
	name: "one of many concurrent requests gets a free lock",
	rule: "Of many concurrent requests for a free lock exactly one is granted.",
	check: func(f *fixture) {
		for i := range 5 {
			f.wantOne(callers, f.tryAtOnce(callers, nth("disk", i)))
		}
	},
}, {
	name: "one of many concurrent requests gets an expired lock",
	rule: "Of many concurrent requests for an expired lock exactly one is granted.",
	check: func(f *fixture) {
		f.open().mustLockFor("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		f.wantOne(callers, f.tryAtOnce(callers, "disk"))
	},
}, {
	name: "one of many concurrent unlocks succeeds",
	rule: "One Unlock ends a grant; every concurrent one fails with ErrNotHeld.",
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
	name: "a lock never has two holders",
	rule: "At most one owner holds a lock at a time, with any number of owners and clients.",
	check: func(f *fixture) {
		f.tryInTurns()
	},
}, {
	name: "tokens grow in the order of the grants",
	rule: "All clients of a storage see the same order of grants, which is the order of the tokens.",
	check: func(f *fixture) {
		var last uint64
		for _, token := range f.tryInTurns().tokens {
			last = f.wantGreater(token, last)
		}
	},
}, {
	name: "no concurrent unlock is lost",
	rule: "A lock is free after its owner's Unlock, even during concurrent requests.",
	check: func(f *fixture) {
		got := len(f.tryInTurns().tokens)
		f.want(got == callers*locksPerCaller, "%d of %d turns were had", got, callers*locksPerCaller)
		f.open().mustLock("disk", "ann")
	},
}, {
	name: "concurrent calls for different keys are independent",
	rule: "Locks of different keys are independent, even if they are requested concurrently.",
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

// tryAtOnce calls TryLock of one lock for n owners concurrently, and returns the number
// of grants.
func (f *fixture) tryAtOnce(n int, name string) int {
	s, other := f.open(), f.open()
	return concurrently(n, func(i int) bool {
		g, err := pick(i, s, other).tryLock(name, nth("owner", i), lease)
		f.want(err == nil, "TryLock of %q failed: %v", name, err)
		return g.Acquired
	})
}

// wantOne expects one success.
func (f *fixture) wantOne(n, successes int) {
	f.want(successes == 1, "%d of %d succeeded", successes, n)
}

// concurrently calls f n times concurrently and returns how many calls returned true.
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

// pick returns one of the clients for the i-th caller.
func pick[T any](i int, clients ...T) T { return clients[i%len(clients)] }

// history records the grants of one lock.
type history struct {
	mu      sync.Mutex
	holders int
	tokens  []uint64 // in the order of the grants
}

// enter returns the present number of holders.
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

// tryInTurns lets many owners poll one lock, hold it briefly and release it.
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

// untilStalled returns a ctx that ends if progress is not called for stallLimit, so that
// a row may take as long as a slow machine needs.
func (f *fixture) untilStalled() (ctx context.Context, progress, stop func()) {
	ctx, cancel := context.WithCancel(f.ctx)
	stalled := time.AfterFunc(stallLimit, cancel)
	return ctx, func() { stalled.Reset(stallLimit) }, func() {
		stalled.Stop()
		cancel()
	}
}

func (f *fixture) tryUntilGranted(ctx context.Context, s store, owner string, h *history) {
	for start := time.Now(); ctx.Err() == nil; {
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
		pause := pollInterval
		if waited := time.Since(start); waited > 2*time.Second {
			pause = waited / 20 // the lock is probably stuck
		}
		time.Sleep(pause)
	}
	f.failf("%q did not get the lock, and no other owner did for %v", owner, stallLimit)
}
