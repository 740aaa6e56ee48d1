package conformance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// rounds is how often a row lets two things meet that seldom meet badly.
const rounds = 60

// waitRaceRows are about waiting while much happens at once.
var waitRaceRows = []row{{
	name:      "nobody overtakes those who wait",
	rule:      "While somebody waits, TryLock is refused even in the moment when the lock is free.",
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "owner")
		var line sync.WaitGroup
		var tokens [8]uint64
		for i := range tokens {
			w := pick(i, s, other).startWait("disk", nth("owner", i))
			line.Go(func() {
				tokens[i] = w.mustGet().Token
				s.mustUnlock("disk", nth("owner", i))
			})
		}
		pushy := f.tryRepeatedly(s, other, func() {
			s.mustUnlock("disk", "owner")
			line.Wait()
		})
		for _, token := range pushy {
			f.want(token > tokens[len(tokens)-1], "TryLock was granted token %d between those who wait, %d", token, tokens)
		}
	},
}, {
	name:      "no two hold a lock at once that they have waited for",
	rule:      "At most one owner holds a lock at a time, however many wait for it through however many clients.",
	realClock: true,
	check:     func(f *fixture) { f.lockInTurns() },
}, {
	name:      "no wake-up is lost in a crowd",
	rule:      "Everybody who waits is served, as long as each holder gives the lock back.",
	realClock: true,
	check: func(f *fixture) {
		got := len(f.lockInTurns().tokens)
		f.want(got == callers*locksPerCaller, "%d of %d turns were had", got, callers*locksPerCaller)
		f.open().mustLock("disk", "ann")
	},
}, {
	name:      "a grant and the end of ctx are one or the other",
	rule:      "A grant and the end of ctx are decided in one step: either Lock returns the grant, or its owner has nothing.",
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
	name:      "who gives up in the last moment lets the next one through",
	rule:      "A grant that came too late is given back: the next one gets the lock.",
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

// elbows tries again and again to take the lock called disk through both clients until f
// has returned, gives it back at once, and returns the tokens that it got.
func (f *fixture) tryRepeatedly(s, other store, do func()) (tokens []uint64) {
	var mu sync.Mutex
	var pushy sync.WaitGroup
	stop := make(chan struct{})
	for i := range 2 {
		pushy.Go(func() {
			client, owner := pick(i, s, other), nth("pushy", i)
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
	pushy.Wait()
	return tokens
}

// leavesDuringUnlock ends the waiter's ctx while the lock is being given back, in each
// round a little sooner or later, and waits for both. It returns whether the waiter got
// the lock.
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
		f.failf("%s did not end with its ctx", w.call)
		return false
	}
	if w.err == nil {
		f.want(w.grant.Acquired, "%s ended neither with a grant nor with an error", w.call)
		return true
	}
	f.want(errors.Is(w.err, context.Canceled), "%s returned %v, want %v", w.call, w.err, context.Canceled)
	f.want(w.grant == stores.Grant{}, "%s failed and granted %+v", w.call, w.grant)
	return false
}

// comesFree expects the lock to be free for owner to take, as soon as calls that were
// given up have settled, and has it given back.
func (f *fixture) wantFree(s store, name, owner string) {
	free := f.eventually(f.Settle, func() bool {
		g, err := s.tryLock(name, owner, lease)
		f.want(err == nil, "TryLock of %q failed: %v", name, err)
		return g.Acquired
	})
	if !free {
		f.failf("nobody has %q, and TryLock by %q was refused", name, owner)
		return
	}
	s.mustUnlock(name, owner)
}

// waitTurns lets a crowd of owners wait for one lock, hold it for a moment and give it
// back.
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
		f.failf("Lock by %q did not get the lock, and no other owner did for %v: %v", owner, stallLimit, err)
		return
	}
	holders := h.enter(g.Token)
	f.want(holders == 1, "%d owners hold the lock at once", holders)
	time.Sleep(time.Millisecond)
	h.leave()
	s.mustUnlock("disk", owner)
}
