package conformance

import (
	"errors"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// revokeRows test stores that implement stores.Revoker.
func revokeRows() []row { return withNeeds(slices.Concat(revokedRows, notRevokedRows), needRevoke) }

// revokedRows test revocations that succeed.
var revokedRows = []row{{
	name: "a lock is revoked from the named owner",
	rule: "Revoke ends the hold of the named owner: the lock is free then.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		other.mustRevoke("disk", "ann")
		s.unlockFails("disk", "ann", stores.ErrNotHeld)
		s.mustLock("disk", "bob")
	},
}, {
	name: "a lock is revoked from any holder",
	rule: "Revoke for the empty owner ends the hold of any holder.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		for _, owner := range []string{"ann", "bob"} {
			s.mustLock("disk", owner)
			other.mustRevoke("disk", "")
		}
		s.mustLock("disk", "carl")
	},
}, {
	name: "a revocation affects one lock",
	rule: "Revoke ends the hold of one lock: other locks of its owner do not change.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustLock("gate", "ann")
		s.mustRevoke("disk", "ann")
		s.mustRefuse("gate", "bob")
		s.mustUnlock("gate", "ann")
	},
}, {
	name:  "a revoked lock cannot be renewed",
	rule:  "After Revoke the former owner's Renew fails with ErrNotHeld, or with ErrNotOwner once another owner holds the lock.",
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
	name: "a former owner cannot release its successor's lock after a revocation",
	rule: "After Revoke the former owner's Unlock fails with ErrNotOwner once another owner holds the lock.",
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
	name:  "a waiter gets a lock that is revoked",
	rule:  "After Revoke the next waiter gets the lock, with a greater token.",
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
	name: "one of many concurrent revocations succeeds",
	rule: "One Revoke ends a grant; every concurrent one fails with ErrNotHeld.",
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

// notRevokedRows test revocations that fail.
var notRevokedRows = []row{{
	name: "a free lock cannot be revoked",
	rule: "Revoke fails with ErrNotHeld if the lock is free, for any owner, and does not acquire it.",
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
	name: "an expired lock cannot be revoked",
	rule: "An expired lock is free: Revoke fails with ErrNotHeld.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.revokeFails("disk", "ann", stores.ErrNotHeld)
		s.revokeFails("disk", "", stores.ErrNotHeld)
	},
}, {
	name: "a lock is not revoked from another owner than its holder",
	rule: "Revoke fails with ErrNotOwner if the named owner is not the holder, and changes nothing.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.revokeFails("disk", "bob", stores.ErrNotOwner)
		s.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "a Revoke whose ctx has ended changes nothing",
	rule: "A request whose ctx has ended before the call has no effect.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		_ = stores.Revoke(canceledContext(), s.Store, f.key("disk"), "ann")
		s.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
	},
}}
