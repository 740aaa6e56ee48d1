package conformance

import (
	"context"
	"slices"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// waitRows test stores that implement stores.Waiter. They also need stores.Lister to see
// the queue.
func waitRows() []row {
	rows := slices.Concat(grantedWaitRows, waitedGrantRows, orderRows, canceledWaitRows, closedWaitRows, waitRaceRows)
	return slices.Concat(withNeeds(freeRows, needWait), withNeeds(rows, needWait, needList))
}

// freeRows test Lock of a free lock.
var freeRows = []row{{
	name: "a waiting request gets a free lock at once",
	rule: "Lock acquires a free lock without waiting. Without an error the grant is always acquired.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		g := s.startLock("disk", "ann").mustGet()
		f.want(g.Token != 0, "the token is zero")
		f.want(!g.Expires.IsZero(), "the deadline is zero")
		other.mustRefuse("disk", "bob")
		other.unlockFails("disk", "bob", stores.ErrNotOwner)
		other.mustUnlock("disk", "ann")
		other.startLock("disk", "bob").mustGet()
	},
}, {
	name: "a waiting request gets an expired lock at once",
	rule: "An expired lock is free: Lock acquires it.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.startLock("disk", "bob").mustGet()
		s.unlockFails("disk", "ann", stores.ErrNotOwner)
	},
}, {
	name: "a Lock whose ctx has ended acquires nothing",
	rule: "A request whose ctx has ended before the call has no effect.",
	check: func(f *fixture) {
		s := f.open()
		_, _ = stores.Lock(canceledContext(), s.Store, f.request("disk", "ann", lease))
		s.mustLock("disk", "bob")
	},
}}

// grantedWaitRows test what grants a lock to a waiter.
var grantedWaitRows = []row{{
	name: "a waiter gets the lock when it is released",
	rule: "A waiter is notified when the lock is released, and holds it then.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		bob := other.startWait("disk", "bob")
		s.unlockFails("disk", "bob", stores.ErrNotOwner) // bob still waits
		s.mustUnlock("disk", "ann")
		bob.mustGet()
		s.unlockFails("disk", "ann", stores.ErrNotOwner)
		s.mustRefuse("disk", "carl")
		s.mustUnlock("disk", "bob")
		s.mustLock("disk", "carl")
	},
}, {
	name: "a waiter gets the lock when it expires",
	rule: "A waiter is notified when the lock expires: not before, and soon after.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		sent := time.Now()
		s.mustLockFor("disk", "ann", f.ampleTTL())
		latest := time.Now().Add(f.ampleTTL())
		f.wantGrantedAtExpiry(other.startWait("disk", "bob"), sent.Add(f.ampleTTL()), latest)
		s.unlockFails("disk", "ann", stores.ErrNotOwner)
		s.mustUnlock("disk", "bob")
	},
}, {
	name:  "a waiter gets the lock when a shortened lease expires",
	rule:  "A waiter is notified when the lock expires, even if a renewal during the wait has shortened the lease.",
	needs: []string{needRenew},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		bob := other.startWait("disk", "bob")
		sent := time.Now()
		s.mustRenew("disk", "ann", f.briefTTL())
		f.wantGrantedAtExpiry(bob, sent.Add(f.briefTTL()), time.Now().Add(f.briefTTL()))
	},
}, {
	name:  "a waiter does not get a lock that is renewed",
	rule:  "A lock that its holder renews in time stays held, even if there are waiters.",
	needs: []string{needRenew},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLockFor("disk", "ann", f.ampleTTL())
		bob := other.startWait("disk", "bob")
		if g, err := s.renew("disk", "ann", lease); err != nil || !g.Acquired {
			f.want(f.mayHaveExpired(), "Renew of a lock with a waiter returned %v", err)
			return // the machine was too slow
		}
		f.waitExpired(f.ampleTTL() + f.shortTTL())
		bob.mustStillWait()
		s.mustUnlock("disk", "ann")
		bob.mustGet()
	},
}, {
	name: "a holder can wait for its own lock",
	rule: "The present owner waits like any other, unless it is in its own Holding.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		token := s.mustLock("disk", "ann").Token
		again := other.startWait("disk", "ann")
		again.mustCancel()
		s.mustRefuse("disk", "bob")
		again = other.startWait("disk", "ann")
		s.mustUnlock("disk", "ann")
		f.wantGreater(again.mustGet().Token, token)
		s.mustUnlock("disk", "ann")
		s.unlockFails("disk", "ann", stores.ErrNotHeld)
	},
}, {
	name: "waits for different locks are independent",
	rule: "Locks of different keys are independent, and so are their waiters.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		s.mustLock("gate", "ann")
		bob, carl := other.startWait("disk", "bob"), other.startWait("gate", "carl")
		s.mustUnlock("gate", "ann")
		carl.mustGet()
		bob.mustStillWait()
		other.mustLock("hatch", "dora")
		s.mustUnlock("disk", "ann")
		bob.mustGet()
	},
}}

// waitedGrantRows test the grant of a waiter.
var waitedGrantRows = []row{{
	name: "tokens grow from waiter to waiter",
	rule: tokenRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		last := s.mustLock("disk", "owner").Token
		var queue []*waiter
		for i := range 4 {
			queue = append(queue, pick(i, s, other).startWait("disk", nth("owner", i)))
		}
		s.mustUnlock("disk", "owner")
		for i, w := range queue {
			last = f.wantGreater(w.mustGet().Token, last)
			s.mustUnlock("disk", nth("owner", i))
		}
		f.wantGreater(s.mustLock("disk", "owner").Token, last)
	},
}, {
	name: "a grant after a wait reports its TTL",
	rule: "A grant has the requested TTL, which counts from the grant, with or without a wait.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		g := s.startLockRequest(f.request("disk", "ann", 2*lease)).mustGet()
		f.want(g.TTL == 2*lease, "without a wait the TTL is %v, want %v", g.TTL, 2*lease)
		bob := other.startWait("disk", "bob")
		s.mustUnlock("disk", "ann")
		g = bob.mustGet()
		f.want(g.TTL == lease, "after a wait the TTL is %v, want %v", g.TTL, lease)
	},
}, {
	name: "a lock lasts for its TTL after a wait",
	rule: "The lease of a waiter begins with the grant: the lock lasts for the whole TTL, however long the wait was.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLockFor("disk", "ann", 2*lease)
		bob := other.startWaitRequest(f.request("disk", "bob", f.briefTTL()))
		time.Sleep(2 * f.briefTTL())
		freed := time.Now()
		s.mustUnlock("disk", "ann")
		bob.mustGet()
		s.mustExpireBetween("disk", freed.Add(f.briefTTL()), time.Now().Add(f.briefTTL()+f.Slack))
	},
}, {
	name: "the holder stops before the next owner starts after a wait",
	rule: "Expires of a waiter counts from a time that is not after the grant.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLockFor("disk", "ann", 2*lease)
		bob := other.startWaitRequest(f.request("disk", "bob", f.briefTTL()))
		time.Sleep(2 * f.briefTTL())
		freed := time.Now()
		s.mustUnlock("disk", "ann")
		g := bob.mustGet()
		f.wantDeadlineFromSend(g, freed, f.briefTTL())
		s.mustExpireBetween("disk", g.Expires, time.Now().Add(f.briefTTL()+f.Slack))
	},
}, {
	name: "a holder has most of its lease after a long wait",
	rule: "Expires is the TTL minus a safety margin, and does not include the wait.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLockFor("disk", "ann", 2*lease)
		bob := other.startWait("disk", "bob")
		if f.Bubble { // elsewhere this would take too long
			f.sleep(lease * 3 / 4)
		}
		freed := time.Now()
		s.mustUnlock("disk", "ann")
		left := bob.mustGet().Expires.Sub(freed)
		f.want(left > lease/2, "of %v the holder has only %v", lease, left)
	},
}, {
	name:      "the deadline after a wait has a monotonic reading",
	rule:      "Expires has a monotonic reading, so that a holder stops in time even if the wall clock is set.",
	realClock: true,
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		bob := s.startWait("disk", "bob")
		s.mustUnlock("disk", "ann")
		f.wantMonotonic(bob.mustGet())
	},
}}

// orderRows test the order of the queue.
var orderRows = []row{{
	name: "waiters are served first come, first served",
	rule: "The waiters of a key are served in order of arrival, across all clients.",
	check: func(f *fixture) {
		const waiters = 10
		s, other := f.open(), f.open()
		s.mustLock("disk", "owner")
		var queue []*waiter
		for i := range waiters {
			owner := nth("owner", (i*7)%waiters) // not in the order of names
			queue = append(queue, pick(i/2, s, other).startWait("disk", owner))
		}
		s.mustUnlock("disk", "owner")
		for i, w := range queue {
			w.mustGet()
			for _, later := range queue[i+1:] {
				later.mustStillWait()
			}
			other.mustUnlock("disk", nth("owner", (i*7)%waiters))
		}
	},
}, {
	name: "canceled waits do not change the order",
	rule: "Waiters are served in order of arrival, even if one between them is canceled.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "owner")
		var queue []*waiter
		for i := range 5 {
			queue = append(queue, pick(i, s, other).startWait("disk", nth("owner", i)))
		}
		queue[2].mustCancel()
		queue[0].mustCancel()
		s.mustUnlock("disk", "owner")
		for _, i := range []int{1, 3, 4} {
			queue[i].mustGet()
			s.mustUnlock("disk", nth("owner", i))
		}
	},
}}

// canceledWaitRows test waits whose ctx ends.
var canceledWaitRows = []row{{
	name: "a canceled wait fails with the ctx's error",
	rule: "If ctx ends first, the error wraps ctx.Err, after a cancellation and after a deadline.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.startWait("disk", "bob").mustCancel()
		late := s.start("Lock with a deadline", func(ctx context.Context) (stores.Grant, error) {
			ctx, cancel := context.WithTimeout(ctx, f.briefTTL())
			defer cancel()
			return stores.Lock(ctx, s.Store, f.request("disk", "carl", lease))
		})
		f.sleep(f.briefTTL())
		late.mustFail(context.DeadlineExceeded)
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "a canceled waiter does not get the lock",
	rule: "If ctx ends first, the owner does not hold the lock and is in no queue.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		other.startWait("disk", "bob").mustCancel()
		s.mustUnlock("disk", "ann")
		s.unlockFails("disk", "bob", stores.ErrNotHeld)
		s.mustLock("disk", "carl")
	},
}, {
	name: "a canceled waiter does not block the next",
	rule: "A waiter that leaves the queue does not block those behind it.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		bob, carl := other.startWait("disk", "bob"), s.startWait("disk", "carl")
		bob.mustCancel()
		carl.mustStillWait()
		s.mustUnlock("disk", "ann")
		carl.mustGet()
	},
}}

// closedWaitRows test Close of a client with waiters.
var closedWaitRows = []row{{
	name: "closing a client ends its waits",
	rule: "Lock fails with ErrClosed if the client is closed meanwhile, and does not acquire the lock.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		bob := other.startWait("disk", "bob")
		f.want(other.Close() == nil, "Close failed")
		bob.mustFail(stores.ErrClosed)
		left := f.eventually(f.Settle, func() bool { return s.waiterCount("disk") == 0 })
		f.want(left, "%s is still counted as a waiter", bob.call)
		s.mustUnlock("disk", "ann")
		s.mustLock("disk", "carl")
	},
}, {
	name: "closing one client keeps the waits of others",
	rule: "Close closes this client and no other client of the storage, and does not block their waiters.",
	check: func(f *fixture) {
		s, other, third := f.open(), f.open(), f.open()
		s.mustLock("disk", "ann")
		bob, carl, dora := third.startWait("disk", "bob"), other.startWait("disk", "carl"), third.startWait("disk", "dora")
		f.want(other.Close() == nil, "Close failed")
		carl.mustFail(stores.ErrClosed)
		bob.mustStillWait()
		dora.mustStillWait()
		s.mustUnlock("disk", "ann")
		bob.mustGet()
		s.mustUnlock("disk", "bob")
		dora.mustGet()
	},
}}

// wantGrantedAtExpiry expects the waiter to be granted the lock when it expires, between
// earliest and latest.
func (f *fixture) wantGrantedAtExpiry(w *waiter, earliest, latest time.Time) {
	f.expectExpiry(latest)
	w.waitReturn(time.Until(latest))
	if g := w.mustGet(); g.Acquired {
		f.want(!w.at.Before(earliest), "%s was granted %v before the holder's lease ends", w.call, earliest.Sub(w.at))
	}
}
