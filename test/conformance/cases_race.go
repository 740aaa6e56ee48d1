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
	crowd     = 32               // owners that want one lock
	turns     = 3                // how often each of them wants it
	patience  = 10 * time.Second // within which one of them must get it
	pollPause = 2 * time.Millisecond
)

// raceRows are about many callers at once. They say most under -race.
var raceRows = []row{{
	name: "of a crowd one is let in",
	rule: "Of many that try to take a free lock at once exactly one is granted.",
	check: func(b *bench) {
		for i := range 5 {
			b.oneOf(crowd, b.rush(crowd, nth("disk", i)))
		}
	},
}, {
	name: "of a crowd one is let in when a lock expires",
	rule: "Of many that try to take an expired lock at once exactly one is granted.",
	check: func(b *bench) {
		b.open().grantsFor("disk", "ann", b.short())
		b.expire(b.short())
		b.oneOf(crowd, b.rush(crowd, "disk"))
	},
}, {
	name: "of many unlocks one succeeds",
	rule: "One Unlock ends a grant; every other Unlock at the same time fails with ErrNotHeld.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		b.oneOf(crowd, together(crowd, func(i int) bool {
			err := pick(i, s, other).unlock("disk", "ann")
			b.want(err == nil || errors.Is(err, stores.ErrNotHeld), "Unlock returned %v", err)
			return err == nil
		}))
	},
}, {
	name: "no two hold a lock at once",
	rule: "At most one owner holds a lock at a time, however many take turns through however many clients.",
	check: func(b *bench) {
		b.takeTurns()
	},
}, {
	name: "tokens grow in the order of the grants",
	rule: "Two clients of one storage see one order of grants, and it is that of the tokens.",
	check: func(b *bench) {
		var last uint64
		for _, token := range b.takeTurns().tokens {
			last = b.greater(token, last)
		}
	},
}, {
	name: "no unlock is lost in a crowd",
	rule: "A lock that its owner gave back is free, also while others ask for it.",
	check: func(b *bench) {
		got := len(b.takeTurns().tokens)
		b.want(got == crowd*turns, "%d of %d turns were had", got, crowd*turns)
		b.open().grants("disk", "ann")
	},
}, {
	name: "many keys at once do not disturb one another",
	rule: "Locks of different keys are independent, also when they are asked for at the same time.",
	check: func(b *bench) {
		const keys = 4 * crowd
		s, other := b.open(), b.open()
		got := together(keys, func(i int) bool {
			for range turns {
				pick(i, s, other).grants(nth("disk", i), "ann")
				pick(i+1, s, other).refuses(nth("disk", i), "bob")
				pick(i, s, other).frees(nth("disk", i), "ann")
			}
			return true
		})
		b.want(got == keys, "%d of %d callers came back", got, keys)
	},
}}

// rush lets a crowd of owners try to take one lock at once, and returns how many were
// granted.
func (b *bench) rush(n int, name string) int {
	s, other := b.open(), b.open()
	return together(n, func(i int) bool {
		g, err := pick(i, s, other).tryLock(name, nth("owner", i), lease)
		b.want(err == nil, "TryLock of %q failed: %v", name, err)
		return g.Acquired
	})
}

// oneOf expects one success.
func (b *bench) oneOf(n, successes int) {
	b.want(successes == 1, "%d of %d succeeded", successes, n)
}

// together calls f n times at once and returns how many calls returned true.
func together(n int, f func(i int) bool) int {
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
func (b *bench) takeTurns() *history {
	h := &history{}
	s, other := b.open(), b.open()
	ctx, progress, stop := b.untilStalled()
	defer stop()
	together(crowd, func(i int) bool {
		for range turns {
			b.takeTurn(ctx, pick(i, s, other), nth("owner", i), h)
			progress()
		}
		return true
	})
	return h
}

// untilStalled returns a ctx that ends when progress has not been called for patience. So
// a crowd may take as long as the machine needs, if it gets on.
func (b *bench) untilStalled() (ctx context.Context, progress, stop func()) {
	ctx, cancel := context.WithCancel(b.ctx)
	stalled := time.AfterFunc(patience, cancel)
	return ctx, func() { stalled.Reset(patience) }, func() {
		stalled.Stop()
		cancel()
	}
}

func (b *bench) takeTurn(ctx context.Context, s store, owner string, h *history) {
	for ctx.Err() == nil {
		g, err := s.tryLock("disk", owner, lease)
		if err != nil {
			b.failf("TryLock by %q failed: %v", owner, err)
			return
		}
		if g.Acquired {
			holders := h.enter(g.Token)
			b.want(holders == 1, "%d owners hold the lock at once", holders)
			time.Sleep(time.Millisecond)
			h.leave()
			s.frees("disk", owner)
			return
		}
		time.Sleep(pollPause)
	}
	b.failf("%q did not get the lock, and no other owner did for %v", owner, patience)
}
