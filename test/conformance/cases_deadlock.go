package conformance

import (
	"fmt"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// deadlockRows test cycles of waiters. Their owners have names that no other row uses,
// because cycles depend on owners and rows may share a storage.
func deadlockRows() []row {
	return withNeeds(slices.Concat(cycleRows, simultaneousRows, noCycleRows), needWait, needList)
}

const deadlockRule = "Lock fails with ErrDeadlock if the lock is held by an owner in Holding, or by an owner that waits, " +
	"directly or through others, for such a lock. It acquires nothing."

// cycleRows test requests that would wait in a cycle.
var cycleRows = []row{{
	name: "a wait for a lock in its own Holding is a deadlock",
	rule: deadlockRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		ann := f.key("ann")
		s.mustLock("disk", ann)
		other.mustDeadlock("disk", "again", "else", ann)
		other.mustDeadlock("disk", ann, ann)
		s.mustUnlock("disk", ann)
		other.startLockHolding("disk", "again", ann).mustGet()
	},
}, {
	name: "two owners that wait for each other are a deadlock",
	rule: deadlockRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		ann, bob := f.key("ann"), f.key("bob")
		s.mustLock("disk", ann)
		other.mustLock("gate", bob)
		atGate := s.startWaitHolding("gate", "ann-2", ann)
		other.mustDeadlock("disk", "bob-2", bob)
		atGate.mustStillWait()
		other.mustUnlock("gate", bob)
		atGate.mustGet()
	},
}, {
	name: "three owners that wait in a cycle are a deadlock",
	rule: deadlockRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		owner := f.key("owner")
		for i := range 3 {
			s.mustLock(nth("disk", i), nth(owner, i))
		}
		first := s.startWaitHolding(nth("disk", 1), "first", nth(owner, 0))
		second := other.startWaitHolding(nth("disk", 2), "second", nth(owner, 1))
		s.mustDeadlock(nth("disk", 0), "third", nth(owner, 2))
		s.mustUnlock(nth("disk", 2), nth(owner, 2))
		second.mustGet()
		first.mustStillWait()
	},
}, {
	name: "a request that fails with a deadlock leaves the queue",
	rule: "A request that fails with ErrDeadlock acquires nothing and is in no queue.",
	check: func(f *fixture) {
		s := f.open()
		ann := f.key("ann")
		s.mustLock("disk", ann)
		s.mustDeadlock("disk", "again", ann)
		n := s.waiterCount("disk")
		f.want(n == 0, "%d waiters after ErrDeadlock", n)
		atDisk := s.startWait("disk", "bob")
		s.mustUnlock("disk", ann)
		atDisk.mustGet()
	},
}, {
	name:  "a cycle through several locks is a deadlock",
	rule:  "LockAll waits like Lock: it fails with ErrDeadlock if one of the locks can never become free.",
	needs: []string{needMulti},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		ann, bob := f.key("ann"), f.key("bob")
		s.mustLock("disk", ann)
		other.mustLock("gate", bob)
		s.startLockAllRequest(stores.MultiRequest{
			Keys: f.keys([]string{"hatch", "disk"}), Owner: "ann-2", TTL: lease, Holding: []string{ann},
		}).mustFail(stores.ErrDeadlock)
		s.mustLock("hatch", "carl") // LockAll has not acquired it
		s.mustUnlock("hatch", "carl")
		atGate := s.mustQueue(func() *waiter {
			return s.startLockAllRequest(stores.MultiRequest{
				Keys: f.keys([]string{"hatch", "gate"}), Owner: "ann-2", TTL: lease, Holding: []string{ann},
			})
		})
		other.mustDeadlock("disk", "bob-2", bob)
		other.mustUnlock("gate", bob)
		atGate.mustGet()
	},
}, {
	name:  "each of several held locks can close a cycle",
	rule:  deadlockRule,
	needs: []string{needMulti},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		ann, bob := f.key("ann"), f.key("bob")
		s.mustLockAll(ann, "disk", "hatch")
		other.mustLock("gate", bob)
		s.startWaitHolding("gate", "ann-2", ann)
		other.mustDeadlock("hatch", "bob-2", bob)
		other.mustDeadlock("disk", "bob-2", bob)
	},
}}

// simultaneousRows test cycles that two requests close at the same time.
var simultaneousRows = []row{{
	name:      "one of two simultaneous waits for each other fails",
	rule:      "Detecting a deadlock and joining the queue are one step: one of the two requests can continue.",
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		for i := range rounds / 3 {
			f.waitForEachOther(s, other, nth("disk", i), nth("gate", i))
		}
	},
}}

// waitForEachOther lets ann and bob, who hold one lock each, wait for the other's.
func (f *fixture) waitForEachOther(s, other store, disk, gate string) {
	ann, bob := f.key("ann"), f.key("bob")
	s.mustLock(disk, ann)
	s.mustLock(gate, bob)
	atGate, atDisk := s.startLockHolding(gate, "ann-2", ann), other.startLockHolding(disk, "bob-2", bob)
	failed := f.eventually(f.promptLimit(), func() bool { return atGate.returned() || atDisk.returned() })
	f.want(failed, "%s and %s wait for each other, and neither has failed", atGate.call, atDisk.call)
	if atGate.returned() {
		atGate.mustFail(stores.ErrDeadlock)
		s.mustUnlock(disk, ann)
		atDisk.mustGet()
	} else {
		atDisk.mustFail(stores.ErrDeadlock)
		s.mustUnlock(gate, bob)
		atGate.mustGet()
	}
}

// noCycleRows test requests that resemble a cycle but are none.
var noCycleRows = []row{{
	name: "siblings may wait for each other",
	rule: "Two requests that hold the same ancestor's lock are not a deadlock, because the ancestor waits for neither.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		parent, child := f.key("parent"), f.key("child")
		s.mustLock("house", parent)
		s.mustLock("gate", "stranger")
		s.startLockHolding("disk", child, parent).mustGet()
		sibling := other.startWaitHolding("disk", "sibling", parent)
		atGate := s.startWaitHolding("gate", "child-2", parent, child)
		third := other.startWaitHolding("disk", "third", parent)
		s.mustUnlock("gate", "stranger")
		atGate.mustGet()
		s.mustUnlock("disk", child)
		sibling.mustGet()
		other.mustUnlock("disk", "sibling")
		third.mustGet()
	},
}, {
	name: "a canceled wait is not part of a cycle",
	rule: "Only present waiters are part of a cycle: a canceled request is not.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		ann, bob := f.key("ann"), f.key("bob")
		s.mustLock("disk", ann)
		other.mustLock("gate", bob)
		s.startWaitHolding("gate", "ann-2", ann).mustCancel()
		atDisk := other.startWaitHolding("disk", "bob-2", bob)
		s.mustUnlock("disk", ann)
		atDisk.mustGet()
	},
}, {
	name: "a granted wait is not part of a cycle",
	rule: "Only present waiters are part of a cycle: a granted request is not.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		ann, bob := f.key("ann"), f.key("bob")
		s.mustLock("disk", ann)
		other.mustLock("gate", bob)
		atGate := s.startWaitHolding("gate", "ann-2", ann)
		other.mustUnlock("gate", bob)
		atGate.mustGet()
		atDisk := other.startWaitHolding("disk", "bob-2", bob)
		s.mustUnlock("disk", ann)
		atDisk.mustGet()
	},
}, {
	name: "an owner without locks is not part of a cycle",
	rule: "An owner in Holding that holds nothing is in no cycle, and neither is a request without Holding.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		ann, bob := f.key("ann"), f.key("bob")
		s.mustLock("disk", ann)
		other.mustLock("gate", bob)
		atGate := s.startWait("gate", ann)
		atDisk := other.startWaitHolding("disk", "bob-2", "carl", "bob-2")
		s.mustUnlock("disk", ann)
		atDisk.mustGet()
		other.mustUnlock("gate", bob)
		atGate.mustGet()
	},
}, {
	name: "a request that does not wait is no deadlock",
	rule: "TryLock ignores Holding because it does not wait, and so does LockAll without Wait: they are refused.",
	check: func(f *fixture) {
		s := f.open()
		ann, bob := f.key("ann"), f.key("bob")
		s.mustLock("disk", ann)
		req := f.request("disk", bob, lease)
		req.Holding = []string{ann, bob}
		g, err := s.tryLockRequest(req)
		f.want(err == nil && g == stores.Grant{}, "TryLock returned %+v and %v", g, err)
		if f.declares([]string{needMulti}) {
			all := stores.MultiRequest{Keys: f.keys([]string{"gate", "disk"}), Owner: bob, TTL: lease, Holding: req.Holding}
			g, err := stores.LockAll(f.ctx, s.Store, all)
			f.want(err == nil && g == stores.Grant{}, "LockAll returned %+v and %v", g, err)
		}
		s.mustUnlock("disk", ann)
		s.mustLockRequest(req)
	},
}}

// startLockHolding starts a Lock whose Holding has the given owners.
func (s store) startLockHolding(name, owner string, holding ...string) *waiter {
	req := s.f.request(name, owner, lease)
	req.Holding = holding
	return s.startLockRequest(req)
}

// startWaitHolding is startWait with Holding.
func (s store) startWaitHolding(name, owner string, holding ...string) *waiter {
	return s.mustQueue(func() *waiter { return s.startLockHolding(name, owner, holding...) })
}

// mustDeadlock expects Lock to fail with ErrDeadlock.
func (s store) mustDeadlock(name, owner string, holding ...string) {
	w := s.startLockHolding(name, owner, holding...)
	w.call += fmt.Sprintf(" with Holding %q", holding)
	w.mustFail(stores.ErrDeadlock)
}
