package conformance

import (
	"errors"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// revokeRows are about stores that implement stores.Revoker.
func revokeRows() []row { return needing(slices.Concat(revokedRows, notRevokedRows), revoking) }

// revokedRows are about locks that are taken from their owners.
var revokedRows = []row{{
	name: "a lock is taken from the owner that is named",
	rule: "Revoke ends the lock of the owner: nobody holds it then.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("door", "ann")
		other.revokes("door", "ann")
		s.keeps("door", "ann", stores.ErrNotHeld)
		s.grants("door", "bob")
	},
}, {
	name: "a lock is taken from whoever holds it",
	rule: "Revoke for the empty owner ends the lock of whoever holds it.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		for _, owner := range []string{"ann", "bob"} {
			s.grants("door", owner)
			other.revokes("door", "")
		}
		s.grants("door", "carl")
	},
}, {
	name: "a revocation is of one lock",
	rule: "Revoke ends the lock of one key: others of the same owner stay as they are.",
	check: func(b *bench) {
		s := b.open()
		s.grants("door", "ann")
		s.grants("gate", "ann")
		s.revokes("door", "ann")
		s.refuses("gate", "bob")
		s.frees("gate", "ann")
	},
}, {
	name:  "whose lock was revoked does not renew it",
	rule:  "After Revoke the former owner's Renew fails with ErrNotHeld, or with ErrNotOwner once another holds the lock.",
	needs: []string{renewing},
	check: func(b *bench) {
		s := b.open()
		s.grants("door", "ann")
		s.revokes("door", "ann")
		s.lapses("door", "ann", stores.ErrNotHeld)
		s.grants("door", "bob")
		s.lapses("door", "ann", stores.ErrNotOwner)
	},
}, {
	name: "whose lock was revoked does not free its successor's",
	rule: "After Revoke the former owner's Unlock fails with ErrNotOwner once another holds the lock.",
	check: func(b *bench) {
		s := b.open()
		s.grants("door", "ann")
		s.revokes("door", "")
		s.grants("door", "bob")
		s.keeps("door", "ann", stores.ErrNotOwner)
		s.refuses("door", "carl")
	},
}, {
	name: "tokens grow across a revocation",
	rule: tokenRule,
	check: func(b *bench) {
		s := b.open()
		var last uint64
		for range 3 {
			last = b.greater(s.grants("door", "ann").Token, last)
			s.revokes("door", "ann")
		}
	},
}, {
	name:  "who waits gets a lock that is revoked",
	rule:  "After Revoke the next who waits gets the lock, with a larger token.",
	needs: []string{waiting, listing},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		last := s.grants("door", "ann").Token
		bob, carl := other.waits("door", "bob"), other.waits("door", "carl")
		s.revokes("door", "")
		last = b.greater(bob.gets().Token, last)
		s.keeps("door", "ann", stores.ErrNotOwner)
		carl.stays()
		s.revokes("door", "bob")
		b.greater(carl.gets().Token, last)
		s.frees("door", "carl")
	},
}, {
	name: "of many revocations one succeeds",
	rule: "One Revoke ends a grant; every other at the same time fails with ErrNotHeld.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("door", "ann")
		b.oneOf(crowd, together(crowd, func(i int) bool {
			err := pick(i, s, other).revoke("door", []string{"", "ann"}[i/2%2])
			b.want(err == nil || errors.Is(err, stores.ErrNotHeld), "Revoke returned %v", err)
			return err == nil
		}))
	},
}}

// notRevokedRows are about revocations that the store refuses.
var notRevokedRows = []row{{
	name: "a lock that nobody holds is not revoked",
	rule: "Revoke fails with ErrNotHeld if nobody holds the lock, whoever is named, and does not take it.",
	check: func(b *bench) {
		s := b.open()
		s.spares("door", "ann", stores.ErrNotHeld)
		s.spares("door", "", stores.ErrNotHeld)
		s.grants("door", "ann")
		s.frees("door", "ann")
		s.spares("door", "ann", stores.ErrNotHeld)
		s.spares("door", "", stores.ErrNotHeld)
		s.grants("door", "bob")
	},
}, {
	name: "an expired lock is not revoked",
	rule: "An expired lock is not held by anybody: Revoke fails with ErrNotHeld.",
	check: func(b *bench) {
		s := b.open()
		s.grantsFor("door", "ann", b.short())
		b.expire(b.short())
		s.spares("door", "ann", stores.ErrNotHeld)
		s.spares("door", "", stores.ErrNotHeld)
	},
}, {
	name: "a lock is not taken from who is not named",
	rule: "Revoke fails with ErrNotOwner if somebody else than the owner named holds the lock, and changes nothing.",
	check: func(b *bench) {
		s := b.open()
		s.grants("door", "ann")
		s.spares("door", "bob", stores.ErrNotOwner)
		s.refuses("door", "bob")
		s.frees("door", "ann")
	},
}, {
	name: "a Revoke whose ctx has ended takes nothing away",
	rule: "A request that was given up before it was made has no effect.",
	check: func(b *bench) {
		s := b.open()
		s.grants("door", "ann")
		_ = stores.Revoke(ended(), s.Store, b.key("door"), "ann")
		s.refuses("door", "bob")
		s.frees("door", "ann")
	},
}}
