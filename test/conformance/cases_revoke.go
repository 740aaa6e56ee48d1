package conformance

import (
	"errors"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// revokeRows are about stores that implement stores.Revoker.
func revokeRows() []row { return withNeeds(slices.Concat(revokedRows, notRevokedRows), needRevoke) }

// revokedRows are about locks that are taken from their owners.
var revokedRows = []row{{
	name: "a lock is taken from the owner that is named",
	rule: "Revoke ends the lock of the owner: nobody holds it then.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		other.mustRevoke("disk", "ann")
		s.unlockFails("disk", "ann", stores.ErrNotHeld)
		s.mustLock("disk", "bob")
	},
}, {
	name: "a lock is taken from whoever holds it",
	rule: "Revoke for the empty owner ends the lock of whoever holds it.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		for _, owner := range []string{"ann", "bob"} {
			s.mustLock("disk", owner)
			other.mustRevoke("disk", "")
		}
		s.mustLock("disk", "carl")
	},
}, {
	name: "a revocation is of one lock",
	rule: "Revoke ends the lock of one key: others of the same owner stay as they are.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustLock("gate", "ann")
		s.mustRevoke("disk", "ann")
		s.mustRefuse("gate", "bob")
		s.mustUnlock("gate", "ann")
	},
}, {
	name:  "whose lock was revoked does not renew it",
	rule:  "After Revoke the former owner's Renew fails with ErrNotHeld, or with ErrNotOwner once another holds the lock.",
	needs: []string{needRenew},
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustRevoke("disk", "ann")
		s.renewFails("disk", "ann", stores.ErrNotHeld)
		s.mustLock("disk", "bob")
		s.renewFails("disk", "ann", stores.ErrNotOwner)
	},
}, {
	name: "whose lock was revoked does not free its successor's",
	rule: "After Revoke the former owner's Unlock fails with ErrNotOwner once another holds the lock.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustRevoke("disk", "")
		s.mustLock("disk", "bob")
		s.unlockFails("disk", "ann", stores.ErrNotOwner)
		s.mustRefuse("disk", "carl")
	},
}, {
	name: "tokens grow across a revocation",
	rule: tokenRule,
	check: func(f *fixture) {
		s := f.open()
		var last uint64
		for range 3 {
			last = f.wantGreater(s.mustLock("disk", "ann").Token, last)
			s.mustRevoke("disk", "ann")
		}
	},
}, {
	name:  "who waits gets a lock that is revoked",
	rule:  "After Revoke the next who waits gets the lock, with a larger token.",
	needs: []string{needWait, needList},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		last := s.mustLock("disk", "ann").Token
		bob, carl := other.startWait("disk", "bob"), other.startWait("disk", "carl")
		s.mustRevoke("disk", "")
		last = f.wantGreater(bob.mustGet().Token, last)
		s.unlockFails("disk", "ann", stores.ErrNotOwner)
		carl.mustStillWait()
		s.mustRevoke("disk", "bob")
		f.wantGreater(carl.mustGet().Token, last)
		s.mustUnlock("disk", "carl")
	},
}, {
	name: "of many revocations one succeeds",
	rule: "One Revoke ends a grant; every other at the same time fails with ErrNotHeld.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		f.wantOne(callers, concurrently(callers, func(i int) bool {
			err := pick(i, s, other).revoke("disk", []string{"", "ann"}[i/2%2])
			f.want(err == nil || errors.Is(err, stores.ErrNotHeld), "Revoke returned %v", err)
			return err == nil
		}))
	},
}}

// notRevokedRows are about revocations that the store refuses.
var notRevokedRows = []row{{
	name: "a lock that nobody holds is not revoked",
	rule: "Revoke fails with ErrNotHeld if nobody holds the lock, whoever is named, and does not take it.",
	check: func(f *fixture) {
		s := f.open()
		s.revokeFails("disk", "ann", stores.ErrNotHeld)
		s.revokeFails("disk", "", stores.ErrNotHeld)
		s.mustLock("disk", "ann")
		s.mustUnlock("disk", "ann")
		s.revokeFails("disk", "ann", stores.ErrNotHeld)
		s.revokeFails("disk", "", stores.ErrNotHeld)
		s.mustLock("disk", "bob")
	},
}, {
	name: "an expired lock is not revoked",
	rule: "An expired lock is not held by anybody: Revoke fails with ErrNotHeld.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.revokeFails("disk", "ann", stores.ErrNotHeld)
		s.revokeFails("disk", "", stores.ErrNotHeld)
	},
}, {
	name: "a lock is not taken from who is not named",
	rule: "Revoke fails with ErrNotOwner if somebody else than the owner named holds the lock, and changes nothing.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.revokeFails("disk", "bob", stores.ErrNotOwner)
		s.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "a Revoke whose ctx has ended takes nothing away",
	rule: "A request that was given up before it was made has no effect.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		_ = stores.Revoke(canceledContext(), s.Store, f.key("disk"), "ann")
		s.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
	},
}}
