package conformance

import (
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// memberWaitRows test waiting for a declared lock.
var memberWaitRows = []row{{
	name: "a waiting request gets a free declared lock at once",
	rule: "Lock acquires a free declared lock without waiting.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustGroup("room/", declaredLock(heldLock("room/disk", "ann", other.startLockMember("room/disk", "ann").mustGet())))
		s.mustUnlock("room/disk", "ann")
	},
}, {
	name: "a waiting request for a lock that is not declared fails",
	rule: "A request with a group fails with ErrNotDeclared at once if the group does not have the lock, held or free.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.startLockMember("room/disk", "ann").mustFail(stores.ErrNotDeclared)
		s.mustLock("room/disk", "bob")
		other.startLockMember("room/disk", "ann").mustFail(stores.ErrNotDeclared)
		s.mustDeclare("room/disk")
		s.mustWithdraw("room/disk")
		s.mustLock("room/disk", "bob")
		other.startLockMember("room/disk", "ann").mustFail(stores.ErrNotDeclared)
		f.wantWaiters(s, "room/disk", 0)
	},
}, {
	name: "a waiter gets a declared lock when it is released",
	rule: "A waiter is notified when the lock is released, and holds it then, with a greater token.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		last := s.mustLockMember("room/disk", "ann").Token
		bob := other.waitMember("room/disk", "bob")
		l := declaredLock(heldLock("room/disk", "ann", stores.Grant{Token: last}))
		l.Waiters = 1
		s.mustGroup("room/", l)
		s.mustUnlock("room/disk", "ann")
		g := bob.mustGet()
		f.wantGreater(g.Token, last)
		s.mustGroup("room/", declaredLock(heldLock("room/disk", "bob", g)))
		s.mustUnlock("room/disk", "bob")
	},
}, {
	name: "a waiter gets a declared lock when it expires",
	rule: "A waiter is notified when the lock expires: not before, and soon after.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclareFor("room/disk", f.ampleTTL())
		sent := time.Now()
		s.mustLockMember("room/disk", "ann")
		latest := time.Now().Add(f.ampleTTL())
		f.wantGrantedAtExpiry(other.waitMember("room/disk", "bob"), sent.Add(f.ampleTTL()), latest)
	},
}, {
	name:  "a waiter gets a declared lock when it is revoked",
	rule:  "After Revoke the next waiter gets the lock.",
	needs: []string{needRevoke},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "ann")
		bob := other.waitMember("room/disk", "bob")
		s.mustRevoke("room/disk", "ann")
		bob.mustGet()
		s.unlockFails("room/disk", "ann", stores.ErrNotOwner)
	},
}, {
	name: "a declared lock lasts for its TTL after a wait",
	rule: "The lease of a waiter begins with the grant, and Expires is no later than its end.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclareFor("room/disk", f.briefTTL())
		s.mustLock("room/disk", "ann")
		bob := other.waitMember("room/disk", "bob")
		time.Sleep(2 * f.briefTTL())
		freed := time.Now()
		s.mustUnlock("room/disk", "ann")
		g := bob.mustGet()
		f.want(g.TTL == f.briefTTL(), "the TTL is %v, want %v", g.TTL, f.briefTTL())
		f.wantDeadlineFromSend(g, freed, f.briefTTL())
		f.want(g.Expires.After(freed), "Expires is before the grant")
		s.mustExpireBetween("room/disk", freed.Add(f.briefTTL()), time.Now().Add(f.briefTTL()+f.Slack))
	},
}}

// memberOrderRows test the queue of a declared lock.
var memberOrderRows = []row{{
	name: "waiters with and without a group are served in order of arrival",
	rule: "The waiters of a key are served first come, first served, with or without a group.",
	check: func(f *fixture) {
		const waiters = 8
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "owner")
		var queue []*waiter
		for i := range waiters {
			wait := pick(i/2, store.waitMember, store.startWait)
			owner := nth("owner", (i*5)%waiters) // not in the order of names
			queue = append(queue, wait(pick(i/3, s, other), "room/disk", owner))
		}
		s.mustRefuseMember("room/disk", "other")
		s.mustUnlock("room/disk", "owner")
		for i, w := range queue {
			w.mustGet()
			for _, later := range queue[i+1:] {
				later.mustStillWait()
			}
			other.mustUnlock("room/disk", nth("owner", (i*5)%waiters))
		}
	},
}, {
	name: "a lock with waiters can be declared",
	rule: "Declare changes neither the holder nor the waiters of the lock.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("room/disk", "ann")
		bob := other.startWait("room/disk", "bob")
		s.mustDeclare("room/disk")
		carl := other.waitMember("room/disk", "carl")
		bob.mustStillWait()
		s.mustUnlock("room/disk", "ann")
		bob.mustGet()
		carl.mustStillWait()
		s.mustUnlock("room/disk", "bob")
		carl.mustGet()
	},
}, {
	name: "a waiting request is rejected if its owner holds the declared lock",
	rule: repeatedRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		for _, take := range []func(){
			func() { s.mustLockMember("room/disk", "ann") },
			func() { s.mustLock("room/disk", "ann") },
		} {
			take()
			other.startLockMember("room/disk", "ann").mustFail(stores.ErrRepeated)
			f.wantWaiters(s, "room/disk", 0)
			s.mustUnlock("room/disk", "ann")
		}
	},
}, {
	name: "a request is rejected if its owner waits for the declared lock",
	rule: repeatedRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "ann")
		for i, wait := range []func(store, string, string) *waiter{store.waitMember, store.startWait} {
			bob := wait(other, "room/disk", "bob")
			for _, again := range []store{s, other} {
				again.startLockMember("room/disk", "bob").mustFail(stores.ErrRepeated)
				again.lockMemberFails("room/disk", "bob", stores.ErrRepeated)
			}
			f.wantWaiters(s, "room/disk", 1)
			bob.mustStillWait()
			s.mustUnlock("room/disk", pick(i, "ann", "carl"))
			bob.mustGet()
			s.mustUnlock("room/disk", "bob")
			s.mustLockMember("room/disk", "carl")
		}
	},
}, {
	name: "an owner whose wait ended can wait for a declared lock again",
	rule: "After ctx ends or the client is closed, an owner no longer waits: it is granted nothing, and can request the lock again.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "ann")
		other.waitMember("room/disk", "bob").mustCancel()
		closing := other.waitMember("room/disk", "bob")
		f.want(other.Close() == nil, "Close failed")
		closing.mustFail(stores.ErrClosed)
		f.eventually(f.Settle, func() bool { return s.waiterCount("") == 0 })
		s.mustRefuseMember("room/disk", "bob")
		s.unlockFails("room/disk", "bob", stores.ErrNotOwner)
		bob := s.waitMember("room/disk", "bob")
		s.mustUnlock("room/disk", "ann")
		bob.mustGet()
		s.mustUnlock("room/disk", "bob")
		s.mustGroup("room/", freeLock("room/disk"))
	},
}, {
	name: "a Lock of a declared lock whose ctx has ended acquires nothing",
	rule: "A request whose ctx has ended before the call has no effect.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclare("room/disk")
		_, _ = stores.Lock(canceledContext(), s.Store, f.member("room/disk", "ann"))
		s.mustGroup("room/", freeLock("room/disk"))
	},
}, {
	name: "waiting in a cycle for declared locks is a deadlock",
	rule: "Lock fails with ErrDeadlock if the holder waits for a lock of an owner in Holding, with or without a group.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk", "room/gate")
		s.mustLockMember("room/disk", "ann")
		s.mustLockMember("room/gate", "bob")
		first, second := f.member("room/gate", "ann2"), f.member("room/disk", "bob2")
		first.Holding, second.Holding = []string{"ann"}, []string{"bob"}
		ann := s.startWaitRequest(first)
		other.startLockRequest(second).mustFail(stores.ErrDeadlock)
		ann.mustStillWait()
		f.wantWaiters(s, "room/disk", 0)
		other.mustUnlock("room/gate", "bob")
		ann.mustGet()
	},
}}

// withdrawnWaitRows test waiters of a lock that is withdrawn.
var withdrawnWaitRows = []row{{
	name: "withdrawing a lock fails its waiters",
	rule: "Waiting requests with the group fail with ErrNotDeclared.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "ann")
		bob, carl := s.waitMember("room/disk", "bob"), other.waitMember("room/disk", "carl")
		s.mustWithdraw("room/disk")
		bob.mustFail(stores.ErrNotDeclared)
		carl.mustFail(stores.ErrNotDeclared)
		for _, owner := range []string{"ann", "bob", "carl"} {
			s.unlockFails("room/disk", owner, stores.ErrNotHeld)
		}
		other.mustList("room/")
		other.mustLock("room/disk", "dora")
	},
}, {
	name: "declaring a withdrawn lock again does not keep its waiters",
	rule: "Waiting requests with the group fail when the lock is withdrawn, even if it is declared again immediately.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "ann")
		bob, carl := s.waitMember("room/disk", "bob"), other.waitMember("room/disk", "carl")
		s.mustWithdraw("room/disk")
		s.mustDeclare("room/disk")
		bob.mustFail(stores.ErrNotDeclared)
		carl.mustFail(stores.ErrNotDeclared)
		s.mustGroup("room/", freeLock("room/disk"))
		s.mustLockMember("room/disk", "bob")
		carl = other.waitMember("room/disk", "carl")
		s.mustUnlock("room/disk", "bob")
		carl.mustGet()
	},
}, {
	name: "a withdrawn lock goes to the next waiter without a group",
	rule: "Only requests with the group fail; the first waiter without a group gets the lock.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		last := s.mustLockMember("room/disk", "ann").Token
		bob, carl := other.waitMember("room/disk", "bob"), s.startWait("room/disk", "carl")
		dora, erik := other.startWait("room/disk", "dora"), s.waitMember("room/disk", "erik")
		other.mustWithdraw("room/disk")
		bob.mustFail(stores.ErrNotDeclared)
		erik.mustFail(stores.ErrNotDeclared)
		g := carl.mustGet()
		last = f.wantGreater(g.Token, last)
		dora.mustStillWait()
		l := heldLock("room/disk", "carl", g)
		l.Waiters = 1
		f.wantLocks(s.list("room/"), []stores.LockInfo{l})
		s.mustGroupLen("room/", 0)
		s.mustUnlock("room/disk", "carl")
		f.wantGreater(dora.mustGet().Token, last)
	},
}, {
	name:  "a waiter for several locks gets them when one is withdrawn",
	rule:  "Withdraw ends the hold of the lock, and the next waiter without a group gets it.",
	needs: []string{needMulti},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "ann")
		bob := other.startWaitAll("bob", "gate", "room/disk")
		s.mustWithdraw("room/disk")
		bob.mustGet()
		s.mustList("", "gate", "room/disk")
	},
}, {
	name:  "withdrawing a free lock fails its waiters",
	rule:  "Waiting requests with the group fail with ErrNotDeclared, even if the lock is free.",
	needs: []string{needMulti},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLock("gate", "ann")
		all := s.startWaitAll("bob", "gate", "room/disk")
		carl := other.waitMember("room/disk", "carl")
		s.mustWithdraw("room/disk")
		carl.mustFail(stores.ErrNotDeclared)
		all.mustStillWait()
		s.mustUnlock("gate", "ann")
		all.mustGet()
	},
}}
