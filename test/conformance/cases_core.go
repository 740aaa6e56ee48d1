package conformance

import (
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// grantRows are about one client that takes locks.
var grantRows = []row{{
	name: "a free lock is granted",
	rule: "TryLock takes the lock if nobody holds it.",
	check: func(b *bench) {
		b.open().grants("disk", "ann")
	},
}, {
	name: "a grant has a token and a deadline",
	rule: "A grant carries a fencing token, which is not zero, and the moment at which the holder must stop.",
	check: func(b *bench) {
		g := b.open().grants("disk", "ann")
		b.want(g.Token != 0, "the token is zero")
		b.want(!g.Expires.IsZero(), "the deadline is zero")
	},
}, {
	name: "a grant tells its TTL",
	rule: "A grant carries how long the lock lasts from the grant, as asked for.",
	check: func(b *bench) {
		s := b.open()
		for i, ttl := range []time.Duration{lease, b.brief(), stores.MaxTTL} {
			g := s.grantsFor(nth("disk", i), "ann", ttl)
			b.want(g.TTL == ttl, "the TTL is %v, want %v", g.TTL, ttl)
		}
	},
}, {
	name: "a held lock is refused to others",
	rule: "At most one owner holds a lock at a time. That it is held is an answer and not an error.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.refuses("disk", "bob")
		s.refuses("disk", "bob")
	},
}, {
	name: "a held lock is refused to its own owner",
	rule: "The present owner is refused like anybody else: a second TryLock never looks like a second grant.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.refuses("disk", "ann")
	},
}, {
	name: "a refusal is empty",
	rule: "If the lock was not acquired, the other fields of the grant are zero.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		g := s.refuses("disk", "bob")
		b.want(g == stores.Grant{}, "the refusal carries %+v", g)
	},
}, {
	name: "a refusal changes nothing",
	rule: "A refused TryLock leaves the lock with its owner.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.refuses("disk", "bob")
		s.keeps("disk", "bob", stores.ErrNotOwner)
		s.frees("disk", "ann")
	},
}, {
	name: "each key is a lock of its own",
	rule: "Taking a lock, or giving it back, does nothing to the lock of another key.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.grants("gate", "bob")
		s.frees("disk", "ann")
		s.refuses("gate", "carl")
	},
}, {
	name: "an owner holds several locks",
	rule: "An owner proves whose a lock is; it does not limit how many locks are its own.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.grants("gate", "ann")
		s.refuses("disk", "bob")
		s.frees("gate", "ann")
		s.refuses("disk", "bob")
	},
}}

// unlockRows are about one client that gives locks back.
var unlockRows = []row{{
	name: "unlock frees the lock",
	rule: "A lock is held until its owner's Unlock; then anybody may take it.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.frees("disk", "ann")
		s.grants("disk", "bob")
	},
}, {
	name: "an owner takes a lock again",
	rule: "Once a lock is given back, its former owner may take it like anybody else.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.frees("disk", "ann")
		s.grants("disk", "ann")
		s.refuses("disk", "bob")
	},
}, {
	name: "a lock never taken is not held",
	rule: "Unlock fails with ErrNotHeld if nobody holds the lock, and does not take it.",
	check: func(b *bench) {
		s := b.open()
		s.keeps("disk", "ann", stores.ErrNotHeld)
		s.grants("disk", "bob")
	},
}, {
	name: "a lock is given back once",
	rule: "After an Unlock nobody holds the lock: a second Unlock fails with ErrNotHeld, whoever asks.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.frees("disk", "ann")
		s.keeps("disk", "ann", stores.ErrNotHeld)
		s.keeps("disk", "bob", stores.ErrNotHeld)
	},
}, {
	name: "another owner does not unlock",
	rule: "Unlock fails with ErrNotOwner if somebody else holds the lock, and then changes nothing.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.keeps("disk", "bob", stores.ErrNotOwner)
		s.refuses("disk", "bob")
		s.frees("disk", "ann")
	},
}, {
	name: "a former owner does not unlock",
	rule: "Who gave a lock back has no say over it: its Unlock of the next owner's lock fails with ErrNotOwner.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.frees("disk", "ann")
		s.grants("disk", "bob")
		s.keeps("disk", "ann", stores.ErrNotOwner)
		s.refuses("disk", "carl")
	},
}}
