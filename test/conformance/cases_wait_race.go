package conformance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// rounds is how often a row repeats a race that rarely goes wrong.
const rounds = 60

// waitRaceRows test concurrent calls with waiters.
var waitRaceRows = []row{{
	name:      "TryLock does not overtake waiters",
	rule:      "While there are waiters, TryLock is refused even when the lock is free for a moment.",
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "owner")
		var holders sync.WaitGroup
		var tokens [8]uint64
		for i := range tokens {
			w := pick(i, s, other).startWait("disk", nth("owner", i))
			holders.Go(func() {
				tokens[i] = w.mustGet().Token
				s.mustUnlock("disk", nth("owner", i))
			})
		}
		tokensOfOthers := f.tryRepeatedly(s, other, func() {
			s.mustUnlock("disk", "owner")
			holders.Wait()
		})
		for _, token := range tokensOfOthers {
			f.want(token > tokens[len(tokens)-1], "TryLock was granted token %d between the waiters' tokens %d", token, tokens)
		}
	},
}, {
	name:      "a lock never has two holders after waits",
	rule:      "At most one owner holds a lock at a time, with any number of waiters and clients.",
	realClock: true,
	check:     func(f *fixture) { f.lockInTurns() },
}, {
	name:      "no notification of a waiter is lost",
	rule:      "Every waiter is served, as long as each holder releases the lock.",
	realClock: true,
	check: func(f *fixture) {
		got := len(f.lockInTurns().tokens)
		f.want(got == callers*locksPerCaller, "%d of %d turns were had", got, callers*locksPerCaller)
		f.open().mustLock("disk", "ann")
	},
}, {
	name:      "a grant and the end of ctx exclude each other",
	rule:      "Grant and cancellation are decided in one step: either Lock returns the grant, or its owner holds nothing.",
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		for i := range rounds {
			name := nth("disk", i)
			s.mustLock(name, "ann")
			bob := other.startWait(name, "bob")
			if f.cancelDuringUnlock(bob, i, func() { s.mustUnlock(name, "ann") }) {
				s.mustRefuse(name, "carl")
				s.mustUnlock(name, "bob")
			}
			f.wantFree(s, name, "carl")
		}
	},
}, {
	name:      "a grant that comes too late passes to the next waiter",
	rule:      "A grant that comes after the cancellation is released: the next waiter gets the lock.",
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		for i := range rounds {
			name := nth("disk", i)
			s.mustLock(name, "ann")
			bob, carl := other.startWait(name, "bob"), s.startWait(name, "carl")
			if f.cancelDuringUnlock(bob, i, func() { s.mustUnlock(name, "ann") }) {
				carl.mustStillWait()
				s.mustUnlock(name, "bob")
			}
			carl.mustGet()
			s.mustUnlock(name, "carl")
		}
	},
}}

// tryRepeatedly acquires and releases the lock called disk, whenever TryLock succeeds,
// through both clients until do has returned. It returns the tokens of its grants.
func (f *fixture) tryRepeatedly(s, other store, do func()) (tokens []uint64) {
	var mu sync.Mutex
	var callers sync.WaitGroup
	stop := make(chan struct{})
	for i := range 2 {
		callers.Go(func() {
			client, owner := pick(i, s, other), nth("other", i)
			for open := true; open; {
				select {
				case <-stop:
					open = false
				default:
				}
				g, err := client.tryLock("disk", owner, lease)
				f.want(err == nil, "TryLock by %q failed: %v", owner, err)
				if g.Acquired {
					mu.Lock()
					tokens = append(tokens, g.Token)
					mu.Unlock()
					client.mustUnlock("disk", owner)
				}
			}
		})
	}
	do()
	close(stop)
	callers.Wait()
	return tokens
}

// cancelDuringUnlock cancels the wait during the call of unlock, at a different time in
// each round, and waits for both. It reports whether the waiter got the lock.
func (f *fixture) cancelDuringUnlock(w *waiter, round int, unlock func()) (granted bool) {
	concurrently(2, func(i int) bool {
		if i == 0 {
			unlock()
			return true
		}
		time.Sleep(time.Duration(round%10) * 20 * time.Microsecond)
		w.stop()
		return true
	})
	if !w.waitReturn(f.promptLimit()) {
		f.failf("%s did not return after the end of its ctx", w.call)
		return false
	}
	if w.err == nil {
		f.want(w.grant.Acquired, "%s returned neither a grant nor an error", w.call)
		return true
	}
	f.want(errors.Is(w.err, context.Canceled), "%s returned %v, want %v", w.call, w.err, context.Canceled)
	f.want(w.grant == stores.Grant{}, "%s failed with a grant: %+v", w.call, w.grant)
	return false
}

// wantFree expects TryLock by owner to be granted, as soon as canceled calls have
// settled, and releases the lock.
func (f *fixture) wantFree(s store, name, owner string) {
	free := f.eventually(f.Settle, func() bool {
		g, err := s.tryLock(name, owner, lease)
		f.want(err == nil, "TryLock of %q failed: %v", name, err)
		return g.Acquired
	})
	if !free {
		f.failf("%q must be free, and TryLock by %q was refused", name, owner)
		return
	}
	s.mustUnlock(name, owner)
}

// lockInTurns lets many owners wait for one lock, hold it briefly and release it.
func (f *fixture) lockInTurns() *history {
	h := &history{}
	s, other := f.open(), f.open()
	ctx, progress, stop := f.untilStalled()
	defer stop()
	concurrently(callers, func(i int) bool {
		for range locksPerCaller {
			f.lockOnce(ctx, pick(i, s, other), nth("owner", i), h)
			progress()
		}
		return true
	})
	return h
}

func (f *fixture) lockOnce(ctx context.Context, s store, owner string, h *history) {
	g, err := stores.Lock(ctx, s.Store, f.request("disk", owner, lease))
	if err != nil || !g.Acquired {
		f.failf("Lock by %q was not granted, and neither was any other for %v: %v", owner, stallLimit, err)
		return
	}
	holders := h.enter(g.Token)
	f.want(holders == 1, "%d owners hold the lock at once", holders)
	time.Sleep(time.Millisecond)
	h.leave()
	s.mustUnlock("disk", owner)
}
