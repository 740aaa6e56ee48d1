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
	name:  "nobody overtakes those who wait",
	rule:  "While somebody waits, TryLock is refused even in the moment when the lock is free.",
	awake: true,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "owner")
		var line sync.WaitGroup
		var tokens [8]uint64
		for i := range tokens {
			w := pick(i, s, other).waits("disk", nth("owner", i))
			line.Go(func() {
				tokens[i] = w.gets().Token
				s.frees("disk", nth("owner", i))
			})
		}
		pushy := b.elbows(s, other, func() {
			s.frees("disk", "owner")
			line.Wait()
		})
		for _, token := range pushy {
			b.want(token > tokens[len(tokens)-1], "TryLock was granted token %d between those who wait, %d", token, tokens)
		}
	},
}, {
	name:  "no two hold a lock at once that they have waited for",
	rule:  "At most one owner holds a lock at a time, however many wait for it through however many clients.",
	awake: true,
	check: func(b *bench) { b.waitTurns() },
}, {
	name:  "no wake-up is lost in a crowd",
	rule:  "Everybody who waits is served, as long as each holder gives the lock back.",
	awake: true,
	check: func(b *bench) {
		got := len(b.waitTurns().tokens)
		b.want(got == crowd*turns, "%d of %d turns were had", got, crowd*turns)
		b.open().grants("disk", "ann")
	},
}, {
	name:  "a grant and the end of ctx are one or the other",
	rule:  "A grant and the end of ctx are decided in one step: either Lock returns the grant, or its owner has nothing.",
	awake: true,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		for i := range rounds {
			name := nth("disk", i)
			s.grants(name, "ann")
			bob := other.waits(name, "bob")
			if b.leavesDuringUnlock(bob, i, func() { s.frees(name, "ann") }) {
				s.refuses(name, "carl")
				s.frees(name, "bob")
			}
			b.comesFree(s, name, "carl")
		}
	},
}, {
	name:  "who gives up in the last moment lets the next one through",
	rule:  "A grant that came too late is given back: the next one gets the lock.",
	awake: true,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		for i := range rounds {
			name := nth("disk", i)
			s.grants(name, "ann")
			bob, carl := other.waits(name, "bob"), s.waits(name, "carl")
			if b.leavesDuringUnlock(bob, i, func() { s.frees(name, "ann") }) {
				carl.stays()
				s.frees(name, "bob")
			}
			carl.gets()
			s.frees(name, "carl")
		}
	},
}}

// elbows tries again and again to take the lock called disk through both clients until f
// has returned, gives it back at once, and returns the tokens that it got.
func (b *bench) elbows(s, other store, f func()) (tokens []uint64) {
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
				b.want(err == nil, "TryLock by %q failed: %v", owner, err)
				if g.Acquired {
					mu.Lock()
					tokens = append(tokens, g.Token)
					mu.Unlock()
					client.frees("disk", owner)
				}
			}
		})
	}
	f()
	close(stop)
	pushy.Wait()
	return tokens
}

// leavesDuringUnlock ends the waiter's ctx while the lock is being given back, in each
// round a little sooner or later, and waits for both. It returns whether the waiter got
// the lock.
func (b *bench) leavesDuringUnlock(w *waiter, round int, unlock func()) (granted bool) {
	together(2, func(i int) bool {
		if i == 0 {
			unlock()
			return true
		}
		time.Sleep(time.Duration(round%10) * 20 * time.Microsecond)
		w.stop()
		return true
	})
	if !w.returns(b.promptly()) {
		b.failf("%s did not end with its ctx", w.what)
		return false
	}
	if w.err == nil {
		b.want(w.grant.Acquired, "%s ended neither with a grant nor with an error", w.what)
		return true
	}
	b.want(errors.Is(w.err, context.Canceled), "%s returned %v, want %v", w.what, w.err, context.Canceled)
	b.want(w.grant == stores.Grant{}, "%s failed and granted %+v", w.what, w.grant)
	return false
}

// comesFree expects the lock to be free for owner to take, as soon as calls that were
// given up have settled, and has it given back.
func (b *bench) comesFree(s store, name, owner string) {
	free := b.within(b.Settle, func() bool {
		g, err := s.tryLock(name, owner, lease)
		b.want(err == nil, "TryLock of %q failed: %v", name, err)
		return g.Acquired
	})
	if !free {
		b.failf("nobody has %q, and TryLock by %q was refused", name, owner)
		return
	}
	s.frees(name, owner)
}

// waitTurns lets a crowd of owners wait for one lock, hold it for a moment and give it
// back.
func (b *bench) waitTurns() *history {
	h := &history{}
	s, other := b.open(), b.open()
	ctx, progress, stop := b.untilStalled()
	defer stop()
	together(crowd, func(i int) bool {
		for range turns {
			b.waitTurn(ctx, pick(i, s, other), nth("owner", i), h)
			progress()
		}
		return true
	})
	return h
}

func (b *bench) waitTurn(ctx context.Context, s store, owner string, h *history) {
	g, err := stores.Lock(ctx, s.Store, b.request("disk", owner, lease))
	if err != nil || !g.Acquired {
		b.failf("Lock by %q did not get the lock, and no other owner did for %v: %v", owner, patience, err)
		return
	}
	holders := h.enter(g.Token)
	b.want(holders == 1, "%d owners hold the lock at once", holders)
	time.Sleep(time.Millisecond)
	h.leave()
	s.frees("disk", owner)
}
