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
		s.grants("disk", "ann")
		other.revokes("disk", "ann")
		s.keeps("disk", "ann", stores.ErrNotHeld)
		s.grants("disk", "bob")
	},
}, {
	name: "a lock is taken from whoever holds it",
	rule: "Revoke for the empty owner ends the lock of whoever holds it.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		for _, owner := range []string{"ann", "bob"} {
			s.grants("disk", owner)
			other.revokes("disk", "")
		}
		s.grants("disk", "carl")
	},
}, {
	name: "a revocation is of one lock",
	rule: "Revoke ends the lock of one key: others of the same owner stay as they are.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.grants("gate", "ann")
		s.revokes("disk", "ann")
		s.refuses("gate", "bob")
		s.frees("gate", "ann")
	},
}, {
	name:  "whose lock was revoked does not renew it",
	rule:  "After Revoke the former owner's Renew fails with ErrNotHeld, or with ErrNotOwner once another holds the lock.",
	needs: []string{renewing},
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.revokes("disk", "ann")
		s.lapses("disk", "ann", stores.ErrNotHeld)
		s.grants("disk", "bob")
		s.lapses("disk", "ann", stores.ErrNotOwner)
	},
}, {
	name: "whose lock was revoked does not free its successor's",
	rule: "After Revoke the former owner's Unlock fails with ErrNotOwner once another holds the lock.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.revokes("disk", "")
		s.grants("disk", "bob")
		s.keeps("disk", "ann", stores.ErrNotOwner)
		s.refuses("disk", "carl")
	},
}, {
	name: "tokens grow across a revocation",
	rule: tokenRule,
	check: func(b *bench) {
		s := b.open()
		var last uint64
		for range 3 {
			last = b.greater(s.grants("disk", "ann").Token, last)
			s.revokes("disk", "ann")
		}
	},
}, {
	name:  "who waits gets a lock that is revoked",
	rule:  "After Revoke the next who waits gets the lock, with a larger token.",
	needs: []string{waiting, listing},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		last := s.grants("disk", "ann").Token
		bob, carl := other.waits("disk", "bob"), other.waits("disk", "carl")
		s.revokes("disk", "")
		last = b.greater(bob.gets().Token, last)
		s.keeps("disk", "ann", stores.ErrNotOwner)
		carl.stays()
		s.revokes("disk", "bob")
		b.greater(carl.gets().Token, last)
		s.frees("disk", "carl")
	},
}, {
	name: "of many revocations one succeeds",
	rule: "One Revoke ends a grant; every other at the same time fails with ErrNotHeld.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		b.oneOf(crowd, together(crowd, func(i int) bool {
			err := pick(i, s, other).revoke("disk", []string{"", "ann"}[i/2%2])
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
		s.spares("disk", "ann", stores.ErrNotHeld)
		s.spares("disk", "", stores.ErrNotHeld)
		s.grants("disk", "ann")
		s.frees("disk", "ann")
		s.spares("disk", "ann", stores.ErrNotHeld)
		s.spares("disk", "", stores.ErrNotHeld)
		s.grants("disk", "bob")
	},
}, {
	name: "an expired lock is not revoked",
	rule: "An expired lock is not held by anybody: Revoke fails with ErrNotHeld.",
	check: func(b *bench) {
		s := b.open()
		s.grantsFor("disk", "ann", b.short())
		b.expire(b.short())
		s.spares("disk", "ann", stores.ErrNotHeld)
		s.spares("disk", "", stores.ErrNotHeld)
	},
}, {
	name: "a lock is not taken from who is not named",
	rule: "Revoke fails with ErrNotOwner if somebody else than the owner named holds the lock, and changes nothing.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.spares("disk", "bob", stores.ErrNotOwner)
		s.refuses("disk", "bob")
		s.frees("disk", "ann")
	},
}, {
	name: "a Revoke whose ctx has ended takes nothing away",
	rule: "A request that was given up before it was made has no effect.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		_ = stores.Revoke(ended(), s.Store, b.key("disk"), "ann")
		s.refuses("disk", "bob")
		s.frees("disk", "ann")
	},
}}
