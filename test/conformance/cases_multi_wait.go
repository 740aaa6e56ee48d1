package conformance

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// multiWaitRows test waiting for several locks.
var multiWaitRows = []row{{
	name: "a waiting LockAll gets free locks at once",
	rule: "LockAll with Wait does not wait if all of the locks are free.",
	check: func(f *fixture) {
		s := f.open()
		s.startLockAll("ann", "disk", "gate").mustGet()
		s.mustRefuse("disk", "bob")
		s.mustUnlock("gate", "ann")
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "a waiter for several locks gets them when the last is released",
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
	name: "a waiter for several locks gets them when the last expires",
	rule: "LockAll with Wait is granted when all of the locks are free; expired locks are.",
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
	name: "a waiter for several locks holds none of them",
	rule: "LockAll acquires all of the locks or none: a waiter holds nothing.",
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
	name: "no request overtakes a waiter for several locks",
	rule: "LockAll waits in the queue of every key: meanwhile TryLock and LockAll are refused, even for the locks that are free.",
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
	name: "a later waiter for one of several locks is served later",
	rule: "The waiters of a key are served first come, first served, whether or not they wait for other locks too.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		bob := other.startWaitAll("bob", "disk", "gate")
		carl := s.startLock("gate", "carl") // free, but bob comes first
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
	name: "an earlier waiter for one of several locks is served first",
	rule: "The waiters of a key are served first come, first served, whether or not they wait for other locks too.",
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
	name: "a canceled wait for several locks leaves no trace",
	rule: "If ctx ends first, the owner holds none of the locks and is in no queue.",
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
	name: "several locks last for their TTL after a wait",
	rule: "The lease of a waiter begins with the grant, and Expires counts from a time that is not after it.",
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
		f.sleepUntil(latest)
		s.mustLock("disk", "next")
	},
}, {
	name: "closing a client ends its waits for several locks",
	rule: "LockAll fails with ErrClosed if the client is closed meanwhile, and acquires none of the locks.",
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

// multiWaitRaceRows test concurrent waits for several locks.
var multiWaitRaceRows = []row{{
	name:      "locks requested in opposite orders cause no deadlock",
	rule:      "LockAll acquires its locks in one step: requests for the same locks in another order are all served.",
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
	name:      "a grant of several locks and the end of ctx exclude each other",
	rule:      "Grant and cancellation are decided in one step: either LockAll returns the grant, or its owner holds nothing.",
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

// lockPair waits for two locks, holds them briefly and releases them.
func (f *fixture) lockPair(ctx context.Context, s store, owner string, disks []int, holders []atomic.Int64) {
	names := []string{nth("disk", disks[0]), nth("disk", disks[1])}
	g, err := stores.LockAll(ctx, s.Store, stores.MultiRequest{Keys: f.keys(names), Owner: owner, TTL: lease, Wait: true})
	if err != nil || !g.Acquired {
		f.failf("LockAll of %q by %q was not granted, and neither was any other for %v: %v", names, owner, stallLimit, err)
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

// shortPause gives calls that have started time to join a queue. If they need longer, the
// row detects fewer failures.
func (f *fixture) shortPause() { time.Sleep(50 * time.Millisecond) }
