package conformance

import (
	"context"
	"slices"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// waitRows are about stores that implement stores.Waiter. What is queued shows in a list,
// so they need that too.
func waitRows() []row {
	rows := slices.Concat(grantedWaitRows, waitedGrantRows, orderRows, canceledWaitRows, closedWaitRows, waitRaceRows)
	return slices.Concat(withNeeds(freeRows, needWait), withNeeds(rows, needWait, needList))
}

// freeRows are about asking for a lock that nobody holds.
var freeRows = []row{{
	name: "who would wait gets a free lock at once",
	rule: "Lock takes the lock, and does not wait if nobody holds it. A Grant without an error is always an acquired one.",
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
	name: "who would wait gets a lock that has expired at once",
	rule: "An expired lock is not held by anybody: Lock takes it.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.startLock("disk", "bob").mustGet()
		s.unlockFails("disk", "ann", stores.ErrNotOwner)
	},
}, {
	name: "a Lock whose ctx has ended takes nothing",
	rule: "A request that was given up before it was made has no effect.",
	check: func(f *fixture) {
		s := f.open()
		_, _ = stores.Lock(canceledContext(), s.Store, f.request("disk", "ann", lease))
		s.mustLock("disk", "bob")
	},
}}

// servedRows are about what makes a lock come to who waits for it.
var grantedWaitRows = []row{{
	name: "who waits gets the lock when it is given back",
	rule: "A waiter is woken by a push when the lock is given back, and holds it then.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		bob := other.startWait("disk", "bob")
		s.unlockFails("disk", "bob", stores.ErrNotOwner) // yet
		s.mustUnlock("disk", "ann")
		bob.mustGet()
		s.unlockFails("disk", "ann", stores.ErrNotOwner)
		s.mustRefuse("disk", "carl")
		s.mustUnlock("disk", "bob")
		s.mustLock("disk", "carl")
	},
}, {
	name: "who waits gets the lock when it expires",
	rule: "A waiter is woken by a push when the lock expires: not before, and soon after.",
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
	name:  "who waits gets the lock when it expires sooner than it would have",
	rule:  "A waiter is woken when the lock expires, also if a renewal has made that sooner while it waited.",
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
	name:  "who waits does not get a lock that is renewed",
	rule:  "A lock that its holder renews in time stays held, whoever waits for its end.",
	needs: []string{needRenew},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLockFor("disk", "ann", f.ampleTTL())
		bob := other.startWait("disk", "bob")
		if g, err := s.renew("disk", "ann", lease); err != nil || !g.Acquired {
			f.want(f.mayHaveExpired(), "Renew while somebody waits returned %v", err)
			return // the machine was too slow
		}
		f.waitExpired(f.ampleTTL() + f.shortTTL())
		bob.mustStillWait()
		s.mustUnlock("disk", "ann")
		bob.mustGet()
	},
}, {
	name: "the owner waits for its own lock like anybody else",
	rule: "The present owner waits like anybody else, unless it is in its own Holding.",
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
	name: "waits for different locks do not disturb each other",
	rule: "Locks of different keys are independent, and so are those who wait for them.",
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

// waitedRows are about the grant of who has waited.
var waitedGrantRows = []row{{
	name: "tokens grow from waiter to waiter",
	rule: tokenRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		last := s.mustLock("disk", "owner").Token
		var line []*waiter
		for i := range 4 {
			line = append(line, pick(i, s, other).startWait("disk", nth("owner", i)))
		}
		s.mustUnlock("disk", "owner")
		for i, w := range line {
			last = f.wantGreater(w.mustGet().Token, last)
			s.mustUnlock("disk", nth("owner", i))
		}
		f.wantGreater(s.mustLock("disk", "owner").Token, last)
	},
}, {
	name: "a grant that was waited for tells its TTL",
	rule: "A grant carries how long the lock lasts from the grant, as asked for, whether or not there was a wait.",
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
	name: "a lock that was waited for lasts for its TTL",
	rule: "The lease of who has waited begins with the grant: the whole TTL lies ahead, however long the wait was.",
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
	name: "the holder stops before the next one starts after a wait",
	rule: "Expires of who has waited counts from a moment that is surely not after the grant.",
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
	name: "who has waited long has most of its lease",
	rule: "Expires leaves the holder its TTL but for a reserve, and does not count the wait.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLockFor("disk", "ann", 2*lease)
		bob := other.startWait("disk", "bob")
		if f.Bubble { // elsewhere nobody waits that long
			time.Sleep(lease * 3 / 4)
		}
		freed := time.Now()
		s.mustUnlock("disk", "ann")
		left := bob.mustGet().Expires.Sub(freed)
		f.want(left > lease/2, "of %v the holder is left %v", lease, left)
	},
}, {
	name:      "the deadline of who has waited is on the monotonic clock",
	rule:      "Expires carries a monotonic reading, so that setting the wall clock does not make a holder overstay.",
	realClock: true,
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		bob := s.startWait("disk", "bob")
		s.mustUnlock("disk", "ann")
		f.wantMonotonic(bob.mustGet())
	},
}}

// orderRows are about who comes next.
var orderRows = []row{{
	name: "first come, first served",
	rule: "Those who wait for a key are served in the order in which they came, over all clients.",
	check: func(f *fixture) {
		const waiters = 10
		s, other := f.open(), f.open()
		s.mustLock("disk", "owner")
		var line []*waiter
		for i := range waiters {
			line = append(line, pick(i/2, s, other).startWait("disk", nth("owner", (i*7)%waiters))) // in no order of names
		}
		s.mustUnlock("disk", "owner")
		for i, w := range line {
			w.mustGet()
			for _, later := range line[i+1:] {
				later.mustStillWait()
			}
			other.mustUnlock("disk", nth("owner", (i*7)%waiters))
		}
	},
}, {
	name: "who gives up leaves the others in their order",
	rule: "Those who wait are served in the order in which they came, also when one between them leaves.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "owner")
		var line []*waiter
		for i := range 5 {
			line = append(line, pick(i, s, other).startWait("disk", nth("owner", i)))
		}
		line[2].mustCancel()
		line[0].mustCancel()
		s.mustUnlock("disk", "owner")
		for _, i := range []int{1, 3, 4} {
			line[i].mustGet()
			s.mustUnlock("disk", nth("owner", i))
		}
	},
}}

// givenUpRows are about waiting that comes to nothing.
var canceledWaitRows = []row{{
	name: "who gives up waiting hears so",
	rule: "If ctx ends first the error wraps ctx.Err, whether it was cancelled or has passed its deadline.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.startWait("disk", "bob").mustCancel()
		late := s.start("Lock with a deadline", func(ctx context.Context) (stores.Grant, error) {
			ctx, cancel := context.WithTimeout(ctx, f.briefTTL())
			defer cancel()
			return stores.Lock(ctx, s.Store, f.request("disk", "carl", lease))
		})
		time.Sleep(f.briefTTL())
		late.mustFail(context.DeadlineExceeded)
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "who has given up waiting does not get the lock",
	rule: "If ctx ends first the owner does not hold the lock and is in no queue.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		other.startWait("disk", "bob").mustCancel()
		s.mustUnlock("disk", "ann")
		s.unlockFails("disk", "bob", stores.ErrNotHeld)
		s.mustLock("disk", "carl")
	},
}, {
	name: "who gives up waiting does not hold up the next",
	rule: "Somebody who leaves the queue leaves nothing in the way of those behind.",
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

// waitingClientRows are about the end of a client that waits.
var closedWaitRows = []row{{
	name: "a closed client wakes those who wait through it",
	rule: "Lock fails with ErrClosed if the store is closed meanwhile, and its owner does not get the lock.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		bob := other.startWait("disk", "bob")
		f.want(other.Close() == nil, "Close failed")
		bob.mustFail(stores.ErrClosed)
		gone := f.eventually(f.Settle, func() bool { return s.waiterCount("disk") == 0 })
		f.want(gone, "%s is still among those who wait", bob.call)
		s.mustUnlock("disk", "ann")
		s.mustLock("disk", "carl")
	},
}, {
	name: "closing one client leaves those who wait through others",
	rule: "Close ends this client's use of the storage and nobody else's, and leaves nothing in the way of others.",
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

// wakes expects the waiter to be granted the lock when it ends, between the two moments.
func (f *fixture) wantGrantedAtExpiry(w *waiter, earliest, latest time.Time) {
	w.waitReturn(time.Until(latest))
	if g := w.mustGet(); g.Acquired {
		f.want(!w.at.Before(earliest), "%s was granted %v before the holder's end", w.call, earliest.Sub(w.at))
	}
}
