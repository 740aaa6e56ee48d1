package conformance

import (
	"context"

	"github.com/mortise-lock/mortise/stores"
)

// releaseRows test Release.
var releaseRows = []row{{
	name: "Release ends the wait of its owner",
	rule: "If the owner waits for the lock by a request with a group, Release ends the wait with ErrGaveUp and returns nil.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		l := declaredLock(heldLock("room/disk", "ann", s.mustLockMember("room/disk", "ann")))
		for _, through := range []store{s, other} {
			bob := other.waitMember("room/disk", "bob")
			through.mustRelease("room/disk", "bob")
			bob.mustFail(stores.ErrGaveUp)
			through.releaseFails("room/disk", "bob", stores.ErrNotOwner)
			s.mustGroup("room/", l)
		}
	},
}, {
	name: "Release releases the lock",
	rule: "Release of a lock that the owner holds is like Unlock, and fails as Unlock does if the owner neither holds it nor waits for it.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "ann")
		other.releaseFails("room/disk", "bob", stores.ErrNotOwner)
		other.mustRelease("room/disk", "ann")
		s.mustGroup("room/", freeLock("room/disk"))
		s.releaseFails("room/disk", "ann", stores.ErrNotHeld)
		s.mustLock("room/disk", "bob")
		s.mustRelease("room/disk", "bob")
		s.mustLockMember("room/disk", "carl")
	},
}, {
	name: "waiters behind a wait that Release ended move up",
	rule: "A wait that Release ends blocks no waiter behind it and does not change their order.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "owner")
		var line []*waiter
		for i := range 4 {
			line = append(line, pick(i, s, other).waitMember("room/disk", nth("owner", i)))
		}
		for _, i := range []int{2, 0} {
			s.mustRelease("room/disk", nth("owner", i))
			line[i].mustFail(stores.ErrGaveUp)
		}
		s.mustRelease("room/disk", "owner")
		line[1].mustGet()
		line[3].mustStillWait()
		s.mustUnlock("room/disk", nth("owner", 1))
		line[3].mustGet()
	},
}, {
	name: "Release does not end a wait without a group",
	rule: "Release by an owner that waits without a group fails with ErrNotOwner and changes nothing.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "ann")
		bob := other.startWait("room/disk", "bob")
		s.releaseFails("room/disk", "bob", stores.ErrNotOwner)
		bob.mustStillWait()
		s.mustUnlock("room/disk", "ann")
		bob.mustGet()
		s.mustUnlock("room/disk", "bob")
	},
}, {
	name: "Unlock ends no wait",
	rule: "Unlock by an owner that waits fails with ErrNotOwner and changes nothing, whether or not the waiting request has a group.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "ann")
		bob := other.waitMember("room/disk", "bob")
		carl := s.startWait("room/disk", "carl")
		for _, through := range []store{s, other} {
			through.unlockFails("room/disk", "bob", stores.ErrNotOwner)
			through.unlockFails("room/disk", "carl", stores.ErrNotOwner)
		}
		s.mustUnlock("room/disk", "ann")
		bob.mustGet()
		carl.mustStillWait()
		s.mustUnlock("room/disk", "bob")
		carl.mustGet()
	},
}, {
	name:  "Release ends the wait for a free lock",
	rule:  "If the owner waits for the lock by a request with a group, Release ends the wait, whether the lock is held or free, and returns nil.",
	needs: []string{needMulti},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLock("gate", "ann")
		all := s.startWaitAll("bob", "gate", "room/disk")
		carl := other.waitMember("room/disk", "carl")
		dora := s.waitMember("room/disk", "dora")
		other.mustRelease("room/disk", "carl")
		carl.mustFail(stores.ErrGaveUp)
		all.stop()
		all.mustFail(context.Canceled)
		dora.mustGet()
	},
}}
