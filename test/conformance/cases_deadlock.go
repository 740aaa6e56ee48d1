package conformance

import (
	"fmt"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// deadlockRows are about waiting that would never end. Their owners have names that no
// other row uses, because a circle goes by owners and rows may share a storage.
func deadlockRows() []row {
	return withNeeds(slices.Concat(cycleRows, simultaneousRows, noCycleRows), needWait, needList)
}

const deadlockRule = "Lock fails with ErrDeadlock if the lock is held by an owner in Holding, or by one that waits for such a " +
	"lock, directly or through others, and takes nothing."

// cycleRows are about waits in a circle.
var cycleRows = []row{{
	name: "waiting for oneself is a deadlock",
	rule: deadlockRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		ann := f.key("ann")
		s.mustLock("disk", ann)
		other.mustDeadlock("disk", "anew", "else", ann)
		other.mustDeadlock("disk", ann, ann)
		s.mustUnlock("disk", ann)
		other.startLockHolding("disk", "anew", ann).mustGet()
	},
}, {
	name: "two that wait for each other are a deadlock",
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
	name: "three that wait in a circle are a deadlock",
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
	name: "who is told of a deadlock waits for nothing",
	rule: "A request that fails with ErrDeadlock takes nothing and is in no queue.",
	check: func(f *fixture) {
		s := f.open()
		ann := f.key("ann")
		s.mustLock("disk", ann)
		s.mustDeadlock("disk", "anew", ann)
		n := s.waiterCount("disk")
		f.want(n == 0, "%d wait after a deadlock was told", n)
		atDisk := s.startWait("disk", "bob")
		s.mustUnlock("disk", ann)
		atDisk.mustGet()
	},
}, {
	name:  "a deadlock over several locks at once is told",
	rule:  "LockAll waits as Lock does: it fails with ErrDeadlock if one of the locks can never come free.",
	needs: []string{needMulti},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		ann, bob := f.key("ann"), f.key("bob")
		s.mustLock("disk", ann)
		other.mustLock("gate", bob)
		s.startLockAllRequest(stores.MultiRequest{
			Keys: f.keys([]string{"hatch", "disk"}), Owner: "ann-2", TTL: lease, Holding: []string{ann},
		}).mustFail(stores.ErrDeadlock)
		s.mustLock("hatch", "carl") // nothing of it was taken
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
	name:  "who holds several locks and waits is in a circle by each of them",
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

// meetRows are about waits that close a circle from both sides at once.
var simultaneousRows = []row{{
	name:      "of two that begin to wait for each other at once one is told",
	rule:      "That somebody begins to wait, and that it would be a deadlock, are found out in one step: one of the two can go on.",
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		for i := range rounds / 3 {
			f.waitForEachOther(s, other, nth("disk", i), nth("gate", i))
		}
	},
}}

// meet lets ann and bob, who hold a lock each, wait for the other's.
func (f *fixture) waitForEachOther(s, other store, disk, gate string) {
	ann, bob := f.key("ann"), f.key("bob")
	s.mustLock(disk, ann)
	s.mustLock(gate, bob)
	atGate, atDisk := s.startLockHolding(gate, "ann-2", ann), other.startLockHolding(disk, "bob-2", bob)
	told := f.eventually(f.promptLimit(), func() bool { return atGate.returned() || atDisk.returned() })
	f.want(told, "%s and %s wait for each other, and neither is told", atGate.call, atDisk.call)
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

// noCycleRows are about waits that may look like a circle and are none.
var noCycleRows = []row{{
	name: "siblings may wait for each other",
	rule: "That two requests hold the same ancestor's lock is no deadlock: it has waited for neither.",
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
	name: "a wait that was given up is in no circle",
	rule: "Only those who wait can be waited for in a circle: who has given up waits no more.",
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
	name: "a wait that was served is in no circle",
	rule: "Only those who wait can be waited for in a circle: who was served waits no more.",
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
	name: "who holds nothing waits for whom it likes",
	rule: "An owner in Holding that holds nothing is in no circle, and nor is a request without Holding.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		ann, bob := f.key("ann"), f.key("bob")
		s.mustLock("disk", ann)
		other.mustLock("gate", bob)
		atGate := s.startWait("gate", ann)
		atDisk := other.startWaitHolding("disk", "bob-2", "nobody", "bob-2")
		s.mustUnlock("disk", ann)
		atDisk.mustGet()
		other.mustUnlock("gate", bob)
		atGate.mustGet()
	},
}, {
	name: "who does not wait is in no deadlock",
	rule: "TryLock, which does not wait, has no use for Holding, and nor has LockAll without Wait: they are refused.",
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

// asksHolding begins to ask for the lock on behalf of who keeps the locks of other owners
// meanwhile.
func (s store) startLockHolding(name, owner string, holding ...string) *waiter {
	req := s.f.request(name, owner, lease)
	req.Holding = holding
	return s.startLockRequest(req)
}

// waitsHolding is waits on behalf of who keeps the locks of other owners meanwhile.
func (s store) startWaitHolding(name, owner string, holding ...string) *waiter {
	return s.mustQueue(func() *waiter { return s.startLockHolding(name, owner, holding...) })
}

// stuck expects that waiting is told to be a deadlock.
func (s store) mustDeadlock(name, owner string, holding ...string) {
	w := s.startLockHolding(name, owner, holding...)
	w.call += fmt.Sprintf(" that holds what is %q's", holding)
	w.mustFail(stores.ErrDeadlock)
}
