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
	rows := slices.Concat(servedRows, waitedRows, orderRows, givenUpRows, waitingClientRows, waitRaceRows)
	return slices.Concat(needing(freeRows, waiting), needing(rows, waiting, listing))
}

// freeRows are about asking for a lock that nobody holds.
var freeRows = []row{{
	name: "who would wait gets a free lock at once",
	rule: "Lock takes the lock, and does not wait if nobody holds it. A Grant without an error is always an acquired one.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		g := s.asks("disk", "ann").gets()
		b.want(g.Token != 0, "the token is zero")
		b.want(!g.Expires.IsZero(), "the deadline is zero")
		other.refuses("disk", "bob")
		other.keeps("disk", "bob", stores.ErrNotOwner)
		other.frees("disk", "ann")
		other.asks("disk", "bob").gets()
	},
}, {
	name: "who would wait gets a lock that has expired at once",
	rule: "An expired lock is not held by anybody: Lock takes it.",
	check: func(b *bench) {
		s := b.open()
		s.grantsFor("disk", "ann", b.short())
		b.expire(b.short())
		s.asks("disk", "bob").gets()
		s.keeps("disk", "ann", stores.ErrNotOwner)
	},
}, {
	name: "a Lock whose ctx has ended takes nothing",
	rule: "A request that was given up before it was made has no effect.",
	check: func(b *bench) {
		s := b.open()
		_, _ = stores.Lock(ended(), s.Store, b.request("disk", "ann", lease))
		s.grants("disk", "bob")
	},
}}

// servedRows are about what makes a lock come to who waits for it.
var servedRows = []row{{
	name: "who waits gets the lock when it is given back",
	rule: "A waiter is woken by a push when the lock is given back, and holds it then.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		bob := other.waits("disk", "bob")
		s.keeps("disk", "bob", stores.ErrNotOwner) // yet
		s.frees("disk", "ann")
		bob.gets()
		s.keeps("disk", "ann", stores.ErrNotOwner)
		s.refuses("disk", "carl")
		s.frees("disk", "bob")
		s.grants("disk", "carl")
	},
}, {
	name: "who waits gets the lock when it expires",
	rule: "A waiter is woken by a push when the lock expires: not before, and soon after.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		sent := time.Now()
		s.grantsFor("disk", "ann", b.ample())
		latest := time.Now().Add(b.ample())
		b.wakes(other.waits("disk", "bob"), sent.Add(b.ample()), latest)
		s.keeps("disk", "ann", stores.ErrNotOwner)
		s.frees("disk", "bob")
	},
}, {
	name:  "who waits gets the lock when it expires sooner than it would have",
	rule:  "A waiter is woken when the lock expires, also if a renewal has made that sooner while it waited.",
	needs: []string{renewing},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		bob := other.waits("disk", "bob")
		sent := time.Now()
		s.renews("disk", "ann", b.brief())
		b.wakes(bob, sent.Add(b.brief()), time.Now().Add(b.brief()))
	},
}, {
	name:  "who waits does not get a lock that is renewed",
	rule:  "A lock that its holder renews in time stays held, whoever waits for its end.",
	needs: []string{renewing},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grantsFor("disk", "ann", b.ample())
		bob := other.waits("disk", "bob")
		if g, err := s.renew("disk", "ann", lease); err != nil || !g.Acquired {
			b.want(b.lapsed(), "Renew while somebody waits returned %v", err)
			return // the machine was too slow
		}
		b.expire(b.ample() + b.short())
		bob.stays()
		s.frees("disk", "ann")
		bob.gets()
	},
}, {
	name: "the owner waits for its own lock like anybody else",
	rule: "The present owner waits like anybody else, unless it is in its own Holding.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		token := s.grants("disk", "ann").Token
		again := other.waits("disk", "ann")
		again.leaves()
		s.refuses("disk", "bob")
		again = other.waits("disk", "ann")
		s.frees("disk", "ann")
		b.greater(again.gets().Token, token)
		s.frees("disk", "ann")
		s.keeps("disk", "ann", stores.ErrNotHeld)
	},
}, {
	name: "waits for different locks do not disturb each other",
	rule: "Locks of different keys are independent, and so are those who wait for them.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		s.grants("gate", "ann")
		bob, carl := other.waits("disk", "bob"), other.waits("gate", "carl")
		s.frees("gate", "ann")
		carl.gets()
		bob.stays()
		other.grants("hatch", "dora")
		s.frees("disk", "ann")
		bob.gets()
	},
}}

// waitedRows are about the grant of who has waited.
var waitedRows = []row{{
	name: "tokens grow from waiter to waiter",
	rule: tokenRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		last := s.grants("disk", "owner").Token
		var line []*waiter
		for i := range 4 {
			line = append(line, pick(i, s, other).waits("disk", nth("owner", i)))
		}
		s.frees("disk", "owner")
		for i, w := range line {
			last = b.greater(w.gets().Token, last)
			s.frees("disk", nth("owner", i))
		}
		b.greater(s.grants("disk", "owner").Token, last)
	},
}, {
	name: "a grant that was waited for tells its TTL",
	rule: "A grant carries how long the lock lasts from the grant, as asked for, whether or not there was a wait.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		g := s.asksFor(b.request("disk", "ann", 2*lease)).gets()
		b.want(g.TTL == 2*lease, "without a wait the TTL is %v, want %v", g.TTL, 2*lease)
		bob := other.waits("disk", "bob")
		s.frees("disk", "ann")
		g = bob.gets()
		b.want(g.TTL == lease, "after a wait the TTL is %v, want %v", g.TTL, lease)
	},
}, {
	name: "a lock that was waited for lasts for its TTL",
	rule: "The lease of who has waited begins with the grant: the whole TTL lies ahead, however long the wait was.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grantsFor("disk", "ann", 2*lease)
		bob := other.waitsFor(b.request("disk", "bob", b.brief()))
		time.Sleep(2 * b.brief())
		freed := time.Now()
		s.frees("disk", "ann")
		bob.gets()
		s.ends("disk", freed.Add(b.brief()), time.Now().Add(b.brief()+b.Slack))
	},
}, {
	name: "the holder stops before the next one starts after a wait",
	rule: "Expires of who has waited counts from a moment that is surely not after the grant.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grantsFor("disk", "ann", 2*lease)
		bob := other.waitsFor(b.request("disk", "bob", b.brief()))
		time.Sleep(2 * b.brief())
		freed := time.Now()
		s.frees("disk", "ann")
		g := bob.gets()
		b.counted(g, freed, b.brief())
		s.ends("disk", g.Expires, time.Now().Add(b.brief()+b.Slack))
	},
}, {
	name: "who has waited long has most of its lease",
	rule: "Expires leaves the holder its TTL but for a reserve, and does not count the wait.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grantsFor("disk", "ann", 2*lease)
		bob := other.waits("disk", "bob")
		if b.Bubble { // elsewhere nobody waits that long
			time.Sleep(lease * 3 / 4)
		}
		freed := time.Now()
		s.frees("disk", "ann")
		left := bob.gets().Expires.Sub(freed)
		b.want(left > lease/2, "of %v the holder is left %v", lease, left)
	},
}, {
	name:  "the deadline of who has waited is on the monotonic clock",
	rule:  "Expires carries a monotonic reading, so that setting the wall clock does not make a holder overstay.",
	awake: true,
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		bob := s.waits("disk", "bob")
		s.frees("disk", "ann")
		b.monotonic(bob.gets())
	},
}}

// orderRows are about who comes next.
var orderRows = []row{{
	name: "first come, first served",
	rule: "Those who wait for a key are served in the order in which they came, over all clients.",
	check: func(b *bench) {
		const waiters = 10
		s, other := b.open(), b.open()
		s.grants("disk", "owner")
		var line []*waiter
		for i := range waiters {
			line = append(line, pick(i/2, s, other).waits("disk", nth("owner", (i*7)%waiters))) // in no order of names
		}
		s.frees("disk", "owner")
		for i, w := range line {
			w.gets()
			for _, later := range line[i+1:] {
				later.stays()
			}
			other.frees("disk", nth("owner", (i*7)%waiters))
		}
	},
}, {
	name: "who gives up leaves the others in their order",
	rule: "Those who wait are served in the order in which they came, also when one between them leaves.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "owner")
		var line []*waiter
		for i := range 5 {
			line = append(line, pick(i, s, other).waits("disk", nth("owner", i)))
		}
		line[2].leaves()
		line[0].leaves()
		s.frees("disk", "owner")
		for _, i := range []int{1, 3, 4} {
			line[i].gets()
			s.frees("disk", nth("owner", i))
		}
	},
}}

// givenUpRows are about waiting that comes to nothing.
var givenUpRows = []row{{
	name: "who gives up waiting hears so",
	rule: "If ctx ends first the error wraps ctx.Err, whether it was cancelled or has passed its deadline.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.waits("disk", "bob").leaves()
		late := s.start("Lock with a deadline", func(ctx context.Context) (stores.Grant, error) {
			ctx, cancel := context.WithTimeout(ctx, b.brief())
			defer cancel()
			return stores.Lock(ctx, s.Store, b.request("disk", "carl", lease))
		})
		time.Sleep(b.brief())
		late.fails(context.DeadlineExceeded)
		s.frees("disk", "ann")
	},
}, {
	name: "who has given up waiting does not get the lock",
	rule: "If ctx ends first the owner does not hold the lock and is in no queue.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		other.waits("disk", "bob").leaves()
		s.frees("disk", "ann")
		s.keeps("disk", "bob", stores.ErrNotHeld)
		s.grants("disk", "carl")
	},
}, {
	name: "who gives up waiting does not hold up the next",
	rule: "Somebody who leaves the queue leaves nothing in the way of those behind.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		bob, carl := other.waits("disk", "bob"), s.waits("disk", "carl")
		bob.leaves()
		carl.stays()
		s.frees("disk", "ann")
		carl.gets()
	},
}}

// waitingClientRows are about the end of a client that waits.
var waitingClientRows = []row{{
	name: "a closed client wakes those who wait through it",
	rule: "Lock fails with ErrClosed if the store is closed meanwhile, and its owner does not get the lock.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		bob := other.waits("disk", "bob")
		b.want(other.Close() == nil, "Close failed")
		bob.fails(stores.ErrClosed)
		gone := b.within(b.Settle, func() bool { return s.queue("disk") == 0 })
		b.want(gone, "%s is still among those who wait", bob.what)
		s.frees("disk", "ann")
		s.grants("disk", "carl")
	},
}, {
	name: "closing one client leaves those who wait through others",
	rule: "Close ends this client's use of the storage and nobody else's, and leaves nothing in the way of others.",
	check: func(b *bench) {
		s, other, third := b.open(), b.open(), b.open()
		s.grants("disk", "ann")
		bob, carl, dora := third.waits("disk", "bob"), other.waits("disk", "carl"), third.waits("disk", "dora")
		b.want(other.Close() == nil, "Close failed")
		carl.fails(stores.ErrClosed)
		bob.stays()
		dora.stays()
		s.frees("disk", "ann")
		bob.gets()
		s.frees("disk", "bob")
		dora.gets()
	},
}}

// wakes expects the waiter to be granted the lock when it ends, between the two moments.
func (b *bench) wakes(w *waiter, earliest, latest time.Time) {
	w.returns(time.Until(latest))
	if g := w.gets(); g.Acquired {
		b.want(!w.at.Before(earliest), "%s was granted %v before the holder's end", w.what, earliest.Sub(w.at))
	}
}
