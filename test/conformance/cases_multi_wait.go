package conformance

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// multiWaitRows are about waiting for several locks.
var multiWaitRows = []row{{
	name: "who would wait gets several free locks at once",
	rule: "LockAll with Wait does not wait if nobody holds any of the locks.",
	check: func(b *bench) {
		s := b.open()
		s.asksAll("ann", "disk", "gate").gets()
		s.refuses("disk", "bob")
		s.frees("gate", "ann")
		s.frees("disk", "ann")
	},
}, {
	name: "who waits for several locks gets them when the last is given back",
	rule: "LockAll with Wait is granted when all of the locks are free.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		last := s.grants("disk", "ann").Token
		last = max(last, s.grants("gate", "ann").Token)
		bob := other.waitsAll("bob", "hatch", "gate", "disk")
		s.frees("gate", "ann")
		b.moment()
		bob.stays()
		s.frees("disk", "ann")
		b.greater(bob.gets().Token, last)
		for _, name := range []string{"disk", "gate", "hatch"} {
			s.refuses(name, "carl")
			s.frees(name, "bob")
		}
	},
}, {
	name: "who waits for several locks gets them when the last expires",
	rule: "LockAll with Wait is granted when all of the locks are free; an expired lock is.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		sent := time.Now()
		s.grantsAllFor("ann", b.ample(), "disk", "gate")
		latest := time.Now().Add(b.ample())
		b.wakes(other.waitsAll("bob", "gate", "disk"), sent.Add(b.ample()), latest)
		s.refuses("disk", "carl")
		s.refuses("gate", "carl")
	},
}, {
	name: "who waits for several locks holds none of them",
	rule: "LockAll takes the locks of all keys or none of them, and at no moment a part: who waits holds nothing.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		bob := other.waitsAll("bob", "gate", "disk", "hatch")
		s.keeps("gate", "bob", stores.ErrNotHeld)
		s.keeps("hatch", "bob", stores.ErrNotHeld)
		s.lists("", "disk")
		bob.stays()
	},
}, {
	name: "nobody overtakes who waits for several locks",
	rule: "LockAll waits in the queue of every key: while it does, TryLock and LockAll are refused, the free locks too.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		bob := other.waitsAll("bob", "disk", "gate")
		s.refuses("gate", "carl")
		s.refusesAll("carl", "gate", "hatch")
		s.grants("hatch", "carl")
		s.frees("disk", "ann")
		bob.gets()
	},
}, {
	name: "who comes later for one of several locks waits for its turn",
	rule: "Those who wait for a key are served first come, first served, whether they want it alone or with others.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		bob := other.waitsAll("bob", "disk", "gate")
		carl := s.asks("gate", "carl") // free, but bob's turn comes first
		dora := other.waits("disk", "dora")
		eve := s.waitsAll("eve", "hatch", "disk")
		b.moment()
		carl.stays()
		s.frees("disk", "ann")
		bob.gets()
		b.moment()
		carl.stays()
		dora.stays()
		s.frees("gate", "bob")
		carl.gets()
		dora.stays()
		s.frees("disk", "bob")
		dora.gets()
		eve.stays()
		s.frees("disk", "dora")
		eve.gets()
	},
}, {
	name: "who comes earlier for one of several locks is served first",
	rule: "Those who wait for a key are served first come, first served, whether they want it alone or with others.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		s.grants("gate", "ann")
		bob := s.waits("gate", "bob")
		carl := other.waitsAll("carl", "disk", "gate")
		s.frees("disk", "ann")
		carl.stays()
		s.frees("gate", "ann")
		bob.gets()
		b.moment()
		carl.stays()
		s.frees("gate", "bob")
		carl.gets()
	},
}, {
	name: "who gives up several locks leaves nothing behind",
	rule: "If ctx ends first the owner holds none of the locks and is in no queue.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		bob := other.waitsAll("bob", "disk", "gate")
		carl, dora := s.asks("gate", "carl"), s.waits("disk", "dora")
		b.moment()
		bob.leaves()
		carl.gets()
		dora.stays()
		s.frees("disk", "ann")
		dora.gets()
		s.frees("gate", "carl")
		s.keeps("gate", "bob", stores.ErrNotHeld)
		s.grants("gate", "eve")
	},
}, {
	name: "several locks that were waited for last for their TTL",
	rule: "The lease of who has waited begins with the grant, and Expires counts from a moment that is surely not after it.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grantsFor("disk", "ann", 2*lease)
		bob := other.queues(func() *waiter {
			return other.asksAllFor(stores.MultiRequest{Keys: b.keys([]string{"gate", "disk"}), Owner: "bob", TTL: b.brief()})
		})
		time.Sleep(2 * b.brief())
		freed := time.Now()
		s.frees("disk", "ann")
		g := bob.gets()
		latest := time.Now().Add(b.brief() + b.Slack)
		b.counted(g, freed, b.brief())
		s.ends("gate", freed.Add(b.brief()), latest)
		time.Sleep(time.Until(latest))
		s.grants("disk", "next")
	},
}, {
	name: "a closed client wakes those who wait for several locks through it",
	rule: "LockAll fails with ErrClosed if the store is closed meanwhile, and its owner gets none of the locks.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		bob := other.waitsAll("bob", "gate", "disk")
		b.want(other.Close() == nil, "Close failed")
		bob.fails(stores.ErrClosed)
		s.frees("disk", "ann")
		s.asksAll("carl", "disk", "gate").gets()
	},
}}

// multiWaitRaceRows are about many that wait for several locks at once.
var multiWaitRaceRows = []row{{
	name:  "locks that are wanted in opposite orders are no deadlock",
	rule:  "LockAll takes its locks in one step: those who want the same in another order are served in turn, without end.",
	awake: true,
	check: func(b *bench) {
		const disks = 5
		s, other := b.open(), b.open()
		ctx, progress, stop := b.untilStalled()
		defer stop()
		var holders [disks]atomic.Int64
		together(2*disks, func(i int) bool {
			names := []int{i % disks, (i + 1) % disks}
			if i%2 == 1 {
				names[0], names[1] = names[1], names[0]
			}
			for range turns {
				b.dine(ctx, pick(i, s, other), nth("owner", i), names, holders[:])
				progress()
			}
			return true
		})
		s.grantsAll("ann", nth("disk", 0), nth("disk", 1), nth("disk", 2))
	},
}, {
	name:  "a grant of several locks and the end of ctx are one or the other",
	rule:  "A grant and the end of ctx are decided in one step: either LockAll returns the grant, or its owner has nothing.",
	awake: true,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		for i := range rounds {
			disk, gate := nth("disk", i), nth("gate", i)
			s.grants(disk, "ann")
			bob := other.waitsAll("bob", gate, disk)
			if b.leavesDuringUnlock(bob, i, func() { s.frees(disk, "ann") }) {
				s.frees(gate, "bob")
				s.frees(disk, "bob")
			}
			b.comesFree(s, gate, "carl")
			b.comesFree(s, disk, "carl")
		}
	},
}}

// dine waits for two locks, holds them for a moment and gives them back.
func (b *bench) dine(ctx context.Context, s store, owner string, disks []int, holders []atomic.Int64) {
	names := []string{nth("disk", disks[0]), nth("disk", disks[1])}
	g, err := stores.LockAll(ctx, s.Store, stores.MultiRequest{Keys: b.keys(names), Owner: owner, TTL: lease, Wait: true})
	if err != nil || !g.Acquired {
		b.failf("LockAll of %q by %q did not get them, and no other owner did for %v: %v", names, owner, patience, err)
		return
	}
	for i, disk := range disks {
		n := holders[disk].Add(1)
		b.want(n == 1, "%d owners hold %q at once", n, names[i])
	}
	time.Sleep(time.Millisecond)
	for i, disk := range disks {
		holders[disk].Add(-1)
		s.frees(names[i], owner)
	}
}

// moment is a pause in which what was begun may come to where it waits. Where it does
// not, the row sees less.
func (b *bench) moment() { time.Sleep(50 * time.Millisecond) }
