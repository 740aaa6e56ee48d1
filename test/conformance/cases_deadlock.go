package conformance

import (
	"fmt"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// deadlockRows are about waiting that would never end. Their owners have names that no
// other row uses, because a circle goes by owners and rows may share a storage.
func deadlockRows() []row {
	return needing(slices.Concat(cycleRows, meetRows, noCycleRows), waiting, listing)
}

const deadlockRule = "Lock fails with ErrDeadlock if the lock is held by an owner in Holding, or by one that waits for such a " +
	"lock, directly or through others, and takes nothing."

// cycleRows are about waits in a circle.
var cycleRows = []row{{
	name: "waiting for oneself is a deadlock",
	rule: deadlockRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		ann := b.key("ann")
		s.grants("disk", ann)
		other.stuck("disk", "anew", "else", ann)
		other.stuck("disk", ann, ann)
		s.frees("disk", ann)
		other.asksHolding("disk", "anew", ann).gets()
	},
}, {
	name: "two that wait for each other are a deadlock",
	rule: deadlockRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		ann, bob := b.key("ann"), b.key("bob")
		s.grants("disk", ann)
		other.grants("gate", bob)
		atGate := s.waitsHolding("gate", "ann-2", ann)
		other.stuck("disk", "bob-2", bob)
		atGate.stays()
		other.frees("gate", bob)
		atGate.gets()
	},
}, {
	name: "three that wait in a circle are a deadlock",
	rule: deadlockRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		owner := b.key("owner")
		for i := range 3 {
			s.grants(nth("disk", i), nth(owner, i))
		}
		first := s.waitsHolding(nth("disk", 1), "first", nth(owner, 0))
		second := other.waitsHolding(nth("disk", 2), "second", nth(owner, 1))
		s.stuck(nth("disk", 0), "third", nth(owner, 2))
		s.frees(nth("disk", 2), nth(owner, 2))
		second.gets()
		first.stays()
	},
}, {
	name: "who is told of a deadlock waits for nothing",
	rule: "A request that fails with ErrDeadlock takes nothing and is in no queue.",
	check: func(b *bench) {
		s := b.open()
		ann := b.key("ann")
		s.grants("disk", ann)
		s.stuck("disk", "anew", ann)
		n := s.queue("disk")
		b.want(n == 0, "%d wait after a deadlock was told", n)
		atDisk := s.waits("disk", "bob")
		s.frees("disk", ann)
		atDisk.gets()
	},
}, {
	name:  "a deadlock over several locks at once is told",
	rule:  "LockAll waits as Lock does: it fails with ErrDeadlock if one of the locks can never come free.",
	needs: []string{multi},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		ann, bob := b.key("ann"), b.key("bob")
		s.grants("disk", ann)
		other.grants("gate", bob)
		s.asksAllFor(stores.MultiRequest{
			Keys: b.keys([]string{"hatch", "disk"}), Owner: "ann-2", TTL: lease, Holding: []string{ann},
		}).fails(stores.ErrDeadlock)
		s.grants("hatch", "carl") // nothing of it was taken
		s.frees("hatch", "carl")
		atGate := s.queues(func() *waiter {
			return s.asksAllFor(stores.MultiRequest{
				Keys: b.keys([]string{"hatch", "gate"}), Owner: "ann-2", TTL: lease, Holding: []string{ann},
			})
		})
		other.stuck("disk", "bob-2", bob)
		other.frees("gate", bob)
		atGate.gets()
	},
}, {
	name:  "who holds several locks and waits is in a circle by each of them",
	rule:  deadlockRule,
	needs: []string{multi},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		ann, bob := b.key("ann"), b.key("bob")
		s.grantsAll(ann, "disk", "hatch")
		other.grants("gate", bob)
		s.waitsHolding("gate", "ann-2", ann)
		other.stuck("hatch", "bob-2", bob)
		other.stuck("disk", "bob-2", bob)
	},
}}

// meetRows are about waits that close a circle from both sides at once.
var meetRows = []row{{
	name:  "of two that begin to wait for each other at once one is told",
	rule:  "That somebody begins to wait, and that it would be a deadlock, are found out in one step: one of the two can go on.",
	awake: true,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		for i := range rounds / 3 {
			b.meet(s, other, nth("disk", i), nth("gate", i))
		}
	},
}}

// meet lets ann and bob, who hold a lock each, wait for the other's.
func (b *bench) meet(s, other store, disk, gate string) {
	ann, bob := b.key("ann"), b.key("bob")
	s.grants(disk, ann)
	s.grants(gate, bob)
	atGate, atDisk := s.asksHolding(gate, "ann-2", ann), other.asksHolding(disk, "bob-2", bob)
	told := b.within(b.promptly(), func() bool { return atGate.returned() || atDisk.returned() })
	b.want(told, "%s and %s wait for each other, and neither is told", atGate.what, atDisk.what)
	if atGate.returned() {
		atGate.fails(stores.ErrDeadlock)
		s.frees(disk, ann)
		atDisk.gets()
	} else {
		atDisk.fails(stores.ErrDeadlock)
		s.frees(gate, bob)
		atGate.gets()
	}
}

// noCycleRows are about waits that may look like a circle and are none.
var noCycleRows = []row{{
	name: "siblings may wait for each other",
	rule: "That two requests hold the same ancestor's lock is no deadlock: it has waited for neither.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		parent, child := b.key("parent"), b.key("child")
		s.grants("house", parent)
		s.grants("gate", "stranger")
		s.asksHolding("disk", child, parent).gets()
		sibling := other.waitsHolding("disk", "sibling", parent)
		atGate := s.waitsHolding("gate", "child-2", parent, child)
		third := other.waitsHolding("disk", "third", parent)
		s.frees("gate", "stranger")
		atGate.gets()
		s.frees("disk", child)
		sibling.gets()
		other.frees("disk", "sibling")
		third.gets()
	},
}, {
	name: "a wait that was given up is in no circle",
	rule: "Only those who wait can be waited for in a circle: who has given up waits no more.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		ann, bob := b.key("ann"), b.key("bob")
		s.grants("disk", ann)
		other.grants("gate", bob)
		s.waitsHolding("gate", "ann-2", ann).leaves()
		atDisk := other.waitsHolding("disk", "bob-2", bob)
		s.frees("disk", ann)
		atDisk.gets()
	},
}, {
	name: "a wait that was served is in no circle",
	rule: "Only those who wait can be waited for in a circle: who was served waits no more.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		ann, bob := b.key("ann"), b.key("bob")
		s.grants("disk", ann)
		other.grants("gate", bob)
		atGate := s.waitsHolding("gate", "ann-2", ann)
		other.frees("gate", bob)
		atGate.gets()
		atDisk := other.waitsHolding("disk", "bob-2", bob)
		s.frees("disk", ann)
		atDisk.gets()
	},
}, {
	name: "who holds nothing waits for whom it likes",
	rule: "An owner in Holding that holds nothing is in no circle, and nor is a request without Holding.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		ann, bob := b.key("ann"), b.key("bob")
		s.grants("disk", ann)
		other.grants("gate", bob)
		atGate := s.waits("gate", ann)
		atDisk := other.waitsHolding("disk", "bob-2", "nobody", "bob-2")
		s.frees("disk", ann)
		atDisk.gets()
		other.frees("gate", bob)
		atGate.gets()
	},
}, {
	name: "who does not wait is in no deadlock",
	rule: "TryLock, which does not wait, has no use for Holding, and nor has LockAll without Wait: they are refused.",
	check: func(b *bench) {
		s := b.open()
		ann, bob := b.key("ann"), b.key("bob")
		s.grants("disk", ann)
		req := b.request("disk", bob, lease)
		req.Holding = []string{ann, bob}
		g, err := s.tryLockFor(req)
		b.want(err == nil && g == stores.Grant{}, "TryLock returned %+v and %v", g, err)
		if b.declares([]string{multi}) {
			all := stores.MultiRequest{Keys: b.keys([]string{"gate", "disk"}), Owner: bob, TTL: lease, Holding: req.Holding}
			g, err := stores.LockAll(b.ctx, s.Store, all)
			b.want(err == nil && g == stores.Grant{}, "LockAll returned %+v and %v", g, err)
		}
		s.frees("disk", ann)
		s.grantsAs(req)
	},
}}

// asksHolding begins to ask for the lock on behalf of who keeps the locks of other owners
// meanwhile.
func (s store) asksHolding(name, owner string, holding ...string) *waiter {
	req := s.b.request(name, owner, lease)
	req.Holding = holding
	return s.asksFor(req)
}

// waitsHolding is waits on behalf of who keeps the locks of other owners meanwhile.
func (s store) waitsHolding(name, owner string, holding ...string) *waiter {
	return s.queues(func() *waiter { return s.asksHolding(name, owner, holding...) })
}

// stuck expects that waiting is told to be a deadlock.
func (s store) stuck(name, owner string, holding ...string) {
	w := s.asksHolding(name, owner, holding...)
	w.what += fmt.Sprintf(" that holds what is %q's", holding)
	w.fails(stores.ErrDeadlock)
}
