package conformance

import (
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// grantRows test TryLock with one client.
var grantRows = []row{{
	name: "a free lock is granted",
	rule: "TryLock acquires the lock if it is free.",
	check: func(f *fixture) {
		f.open().mustLock("disk", "ann")
	},
}, {
	name: "a grant has a token and a deadline",
	rule: "A grant has a fencing token other than zero, and the time at which the holder must stop.",
	check: func(f *fixture) {
		g := f.open().mustLock("disk", "ann")
		f.want(g.Token != 0, "the token is zero")
		f.want(!g.Expires.IsZero(), "the deadline is zero")
	},
}, {
	name: "a grant reports its TTL",
	rule: "A grant has the requested TTL, which counts from the grant.",
	check: func(f *fixture) {
		s := f.open()
		for i, ttl := range []time.Duration{lease, f.briefTTL(), stores.MaxTTL} {
			g := s.mustLockFor(nth("disk", i), "ann", ttl)
			f.want(g.TTL == ttl, "the TTL is %v, want %v", g.TTL, ttl)
		}
	},
}, {
	name: "a held lock is refused to other owners",
	rule: "At most one owner holds a lock at a time. A held lock is a result and not an error.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustRefuse("disk", "bob")
		s.mustRefuse("disk", "bob")
	},
}, {
	name: "a held lock is refused to its own owner",
	rule: "TryLock by the present owner is refused too: a second TryLock never looks like a second grant.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustRefuse("disk", "ann")
	},
}, {
	name: "a refusal is empty",
	rule: "If the lock was not acquired, the other fields of the grant are zero.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		g := s.mustRefuse("disk", "bob")
		f.want(g == stores.Grant{}, "the refusal has %+v", g)
	},
}, {
	name: "a refusal changes nothing",
	rule: "A refused TryLock does not change the lock's owner.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustRefuse("disk", "bob")
		s.unlockFails("disk", "bob", stores.ErrNotOwner)
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "locks of different keys are independent",
	rule: "Acquiring or releasing a lock does not change the lock of another key.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustLock("gate", "bob")
		s.mustUnlock("disk", "ann")
		s.mustRefuse("gate", "carl")
	},
}, {
	name: "an owner holds several locks",
	rule: "An owner may hold any number of locks.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustLock("gate", "ann")
		s.mustRefuse("disk", "bob")
		s.mustUnlock("gate", "ann")
		s.mustRefuse("disk", "bob")
	},
}}

// unlockRows test Unlock with one client.
var unlockRows = []row{{
	name: "unlock frees the lock",
	rule: "A lock is held until its owner's Unlock; then any owner can acquire it.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustUnlock("disk", "ann")
		s.mustLock("disk", "bob")
	},
}, {
	name: "an owner acquires a lock again",
	rule: "After Unlock the former owner can acquire the lock again.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustUnlock("disk", "ann")
		s.mustLock("disk", "ann")
		s.mustRefuse("disk", "bob")
	},
}, {
	name: "a lock that was never acquired is not held",
	rule: "Unlock fails with ErrNotHeld if the lock is free, and does not acquire it.",
	check: func(f *fixture) {
		s := f.open()
		s.unlockFails("disk", "ann", stores.ErrNotHeld)
		s.mustLock("disk", "bob")
	},
}, {
	name: "a lock is released once",
	rule: "After Unlock the lock is free: a second Unlock by any owner fails with ErrNotHeld.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustUnlock("disk", "ann")
		s.unlockFails("disk", "ann", stores.ErrNotHeld)
		s.unlockFails("disk", "bob", stores.ErrNotHeld)
	},
}, {
	name: "another owner cannot unlock",
	rule: "Unlock fails with ErrNotOwner if another owner holds the lock, and changes nothing.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.unlockFails("disk", "bob", stores.ErrNotOwner)
		s.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "a former owner cannot unlock",
	rule: "After Unlock the former owner's Unlock of the next owner's lock fails with ErrNotOwner.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustUnlock("disk", "ann")
		s.mustLock("disk", "bob")
		s.unlockFails("disk", "ann", stores.ErrNotOwner)
		s.mustRefuse("disk", "carl")
	},
}}
