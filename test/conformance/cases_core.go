package conformance

import (
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// grantRows are about one client that takes locks.
var grantRows = []row{{
	name: "a free lock is granted",
	rule: "TryLock takes the lock if nobody holds it.",
	check: func(f *fixture) {
		f.open().mustLock("disk", "ann")
	},
}, {
	name: "a grant has a token and a deadline",
	rule: "A grant carries a fencing token, which is not zero, and the moment at which the holder must stop.",
	check: func(f *fixture) {
		g := f.open().mustLock("disk", "ann")
		f.want(g.Token != 0, "the token is zero")
		f.want(!g.Expires.IsZero(), "the deadline is zero")
	},
}, {
	name: "a grant tells its TTL",
	rule: "A grant carries how long the lock lasts from the grant, as asked for.",
	check: func(f *fixture) {
		s := f.open()
		for i, ttl := range []time.Duration{lease, f.briefTTL(), stores.MaxTTL} {
			g := s.mustLockFor(nth("disk", i), "ann", ttl)
			f.want(g.TTL == ttl, "the TTL is %v, want %v", g.TTL, ttl)
		}
	},
}, {
	name: "a held lock is refused to others",
	rule: "At most one owner holds a lock at a time. That it is held is an answer and not an error.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustRefuse("disk", "bob")
		s.mustRefuse("disk", "bob")
	},
}, {
	name: "a held lock is refused to its own owner",
	rule: "The present owner is refused like anybody else: a second TryLock never looks like a second grant.",
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
		f.want(g == stores.Grant{}, "the refusal carries %+v", g)
	},
}, {
	name: "a refusal changes nothing",
	rule: "A refused TryLock leaves the lock with its owner.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustRefuse("disk", "bob")
		s.unlockFails("disk", "bob", stores.ErrNotOwner)
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "each key is a lock of its own",
	rule: "Taking a lock, or giving it back, does nothing to the lock of another key.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustLock("gate", "bob")
		s.mustUnlock("disk", "ann")
		s.mustRefuse("gate", "carl")
	},
}, {
	name: "an owner holds several locks",
	rule: "An owner proves whose a lock is; it does not limit how many locks are its own.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustLock("gate", "ann")
		s.mustRefuse("disk", "bob")
		s.mustUnlock("gate", "ann")
		s.mustRefuse("disk", "bob")
	},
}}

// unlockRows are about one client that gives locks back.
var unlockRows = []row{{
	name: "unlock frees the lock",
	rule: "A lock is held until its owner's Unlock; then anybody may take it.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustUnlock("disk", "ann")
		s.mustLock("disk", "bob")
	},
}, {
	name: "an owner takes a lock again",
	rule: "Once a lock is given back, its former owner may take it like anybody else.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustUnlock("disk", "ann")
		s.mustLock("disk", "ann")
		s.mustRefuse("disk", "bob")
	},
}, {
	name: "a lock never taken is not held",
	rule: "Unlock fails with ErrNotHeld if nobody holds the lock, and does not take it.",
	check: func(f *fixture) {
		s := f.open()
		s.unlockFails("disk", "ann", stores.ErrNotHeld)
		s.mustLock("disk", "bob")
	},
}, {
	name: "a lock is given back once",
	rule: "After an Unlock nobody holds the lock: a second Unlock fails with ErrNotHeld, whoever asks.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustUnlock("disk", "ann")
		s.unlockFails("disk", "ann", stores.ErrNotHeld)
		s.unlockFails("disk", "bob", stores.ErrNotHeld)
	},
}, {
	name: "another owner does not unlock",
	rule: "Unlock fails with ErrNotOwner if somebody else holds the lock, and then changes nothing.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.unlockFails("disk", "bob", stores.ErrNotOwner)
		s.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "a former owner does not unlock",
	rule: "Who gave a lock back has no say over it: its Unlock of the next owner's lock fails with ErrNotOwner.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustUnlock("disk", "ann")
		s.mustLock("disk", "bob")
		s.unlockFails("disk", "ann", stores.ErrNotOwner)
		s.mustRefuse("disk", "carl")
	},
}}
