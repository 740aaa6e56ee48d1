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
	check: func(f *fixture) {
		s := f.open()
		s.startLockAll("ann", "disk", "gate").mustGet()
		s.mustRefuse("disk", "bob")
		s.mustUnlock("gate", "ann")
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "who waits for several locks gets them when the last is given back",
	rule: "LockAll with Wait is granted when all of the locks are free.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		last := s.mustLock("disk", "ann").Token
		last = max(last, s.mustLock("gate", "ann").Token)
		bob := other.startWaitAll("bob", "hatch", "gate", "disk")
		s.mustUnlock("gate", "ann")
		f.shortPause()
		bob.mustStillWait()
		s.mustUnlock("disk", "ann")
		f.wantGreater(bob.mustGet().Token, last)
		for _, name := range []string{"disk", "gate", "hatch"} {
			s.mustRefuse(name, "carl")
			s.mustUnlock(name, "bob")
		}
	},
}, {
	name: "who waits for several locks gets them when the last expires",
	rule: "LockAll with Wait is granted when all of the locks are free; an expired lock is.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		sent := time.Now()
		s.mustLockAllFor("ann", f.ampleTTL(), "disk", "gate")
		latest := time.Now().Add(f.ampleTTL())
		f.wantGrantedAtExpiry(other.startWaitAll("bob", "gate", "disk"), sent.Add(f.ampleTTL()), latest)
		s.mustRefuse("disk", "carl")
		s.mustRefuse("gate", "carl")
	},
}, {
	name: "who waits for several locks holds none of them",
	rule: "LockAll takes the locks of all keys or none of them, and at no moment a part: who waits holds nothing.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		bob := other.startWaitAll("bob", "gate", "disk", "hatch")
		s.unlockFails("gate", "bob", stores.ErrNotHeld)
		s.unlockFails("hatch", "bob", stores.ErrNotHeld)
		s.mustList("", "disk")
		bob.mustStillWait()
	},
}, {
	name: "nobody overtakes who waits for several locks",
	rule: "LockAll waits in the queue of every key: while it does, TryLock and LockAll are refused, the free locks too.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		bob := other.startWaitAll("bob", "disk", "gate")
		s.mustRefuse("gate", "carl")
		s.mustRefuseAll("carl", "gate", "hatch")
		s.mustLock("hatch", "carl")
		s.mustUnlock("disk", "ann")
		bob.mustGet()
	},
}, {
	name: "who comes later for one of several locks waits for its turn",
	rule: "Those who wait for a key are served first come, first served, whether they want it alone or with others.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		bob := other.startWaitAll("bob", "disk", "gate")
		carl := s.startLock("gate", "carl") // free, but bob's turn comes first
		dora := other.startWait("disk", "dora")
		eve := s.startWaitAll("eve", "hatch", "disk")
		f.shortPause()
		carl.mustStillWait()
		s.mustUnlock("disk", "ann")
		bob.mustGet()
		f.shortPause()
		carl.mustStillWait()
		dora.mustStillWait()
		s.mustUnlock("gate", "bob")
		carl.mustGet()
		dora.mustStillWait()
		s.mustUnlock("disk", "bob")
		dora.mustGet()
		eve.mustStillWait()
		s.mustUnlock("disk", "dora")
		eve.mustGet()
	},
}, {
	name: "who comes earlier for one of several locks is served first",
	rule: "Those who wait for a key are served first come, first served, whether they want it alone or with others.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		s.mustLock("gate", "ann")
		bob := s.startWait("gate", "bob")
		carl := other.startWaitAll("carl", "disk", "gate")
		s.mustUnlock("disk", "ann")
		carl.mustStillWait()
		s.mustUnlock("gate", "ann")
		bob.mustGet()
		f.shortPause()
		carl.mustStillWait()
		s.mustUnlock("gate", "bob")
		carl.mustGet()
	},
}, {
	name: "who gives up several locks leaves nothing behind",
	rule: "If ctx ends first the owner holds none of the locks and is in no queue.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		bob := other.startWaitAll("bob", "disk", "gate")
		carl, dora := s.startLock("gate", "carl"), s.startWait("disk", "dora")
		f.shortPause()
		bob.mustCancel()
		carl.mustGet()
		dora.mustStillWait()
		s.mustUnlock("disk", "ann")
		dora.mustGet()
		s.mustUnlock("gate", "carl")
		s.unlockFails("gate", "bob", stores.ErrNotHeld)
		s.mustLock("gate", "eve")
	},
}, {
	name: "several locks that were waited for last for their TTL",
	rule: "The lease of who has waited begins with the grant, and Expires counts from a moment that is surely not after it.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLockFor("disk", "ann", 2*lease)
		bob := other.mustQueue(func() *waiter {
			return other.startLockAllRequest(stores.MultiRequest{Keys: f.keys([]string{"gate", "disk"}), Owner: "bob", TTL: f.briefTTL()})
		})
		time.Sleep(2 * f.briefTTL())
		freed := time.Now()
		s.mustUnlock("disk", "ann")
		g := bob.mustGet()
		latest := time.Now().Add(f.briefTTL() + f.Slack)
		f.wantDeadlineFromSend(g, freed, f.briefTTL())
		s.mustExpireBetween("gate", freed.Add(f.briefTTL()), latest)
		time.Sleep(time.Until(latest))
		s.mustLock("disk", "next")
	},
}, {
	name: "a closed client wakes those who wait for several locks through it",
	rule: "LockAll fails with ErrClosed if the store is closed meanwhile, and its owner gets none of the locks.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		bob := other.startWaitAll("bob", "gate", "disk")
		f.want(other.Close() == nil, "Close failed")
		bob.mustFail(stores.ErrClosed)
		s.mustUnlock("disk", "ann")
		s.startLockAll("carl", "disk", "gate").mustGet()
	},
}}

// multiWaitRaceRows are about many that wait for several locks at once.
var multiWaitRaceRows = []row{{
	name:      "locks that are wanted in opposite orders are no deadlock",
	rule:      "LockAll takes its locks in one step: those who want the same in another order are served in turn, without end.",
	realClock: true,
	check: func(f *fixture) {
		const disks = 5
		s, other := f.open(), f.open()
		ctx, progress, stop := f.untilStalled()
		defer stop()
		var holders [disks]atomic.Int64
		concurrently(2*disks, func(i int) bool {
			names := []int{i % disks, (i + 1) % disks}
			if i%2 == 1 {
				names[0], names[1] = names[1], names[0]
			}
			for range locksPerCaller {
				f.lockPair(ctx, pick(i, s, other), nth("owner", i), names, holders[:])
				progress()
			}
			return true
		})
		s.mustLockAll("ann", nth("disk", 0), nth("disk", 1), nth("disk", 2))
	},
}, {
	name:      "a grant of several locks and the end of ctx are one or the other",
	rule:      "A grant and the end of ctx are decided in one step: either LockAll returns the grant, or its owner has nothing.",
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		for i := range rounds {
			disk, gate := nth("disk", i), nth("gate", i)
			s.mustLock(disk, "ann")
			bob := other.startWaitAll("bob", gate, disk)
			if f.cancelDuringUnlock(bob, i, func() { s.mustUnlock(disk, "ann") }) {
				s.mustUnlock(gate, "bob")
				s.mustUnlock(disk, "bob")
			}
			f.wantFree(s, gate, "carl")
			f.wantFree(s, disk, "carl")
		}
	},
}}

// dine waits for two locks, holds them for a moment and gives them back.
func (f *fixture) lockPair(ctx context.Context, s store, owner string, disks []int, holders []atomic.Int64) {
	names := []string{nth("disk", disks[0]), nth("disk", disks[1])}
	g, err := stores.LockAll(ctx, s.Store, stores.MultiRequest{Keys: f.keys(names), Owner: owner, TTL: lease, Wait: true})
	if err != nil || !g.Acquired {
		f.failf("LockAll of %q by %q did not get them, and no other owner did for %v: %v", names, owner, stallLimit, err)
		return
	}
	for i, disk := range disks {
		n := holders[disk].Add(1)
		f.want(n == 1, "%d owners hold %q at once", n, names[i])
	}
	time.Sleep(time.Millisecond)
	for i, disk := range disks {
		holders[disk].Add(-1)
		s.mustUnlock(names[i], owner)
	}
}

// moment is a pause in which what was begun may come to where it waits. Where it does
// not, the row sees less.
func (f *fixture) shortPause() { time.Sleep(50 * time.Millisecond) }
