package conformance

import (
	"time"

	"github.com/mortise-lock/mortise/stores"
)

const (
	withdrawRule = "Withdraw ends the lock's existence, and its hold if it is held, in one step."
	repeatedRule = "A request with a group fails with ErrRepeated if its owner holds the lock or waits for it, and changes nothing."
)

// withdrawnRows test Withdraw.
var withdrawnRows = []row{{
	name: "a withdrawn lock no longer exists",
	rule: withdrawRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk", "room/gate")
		other.mustWithdraw("room/disk")
		s.mustGroup("room/", freeLock("room/gate"))
		s.lockMemberFails("room/disk", "ann", stores.ErrNotDeclared)
		s.unlockFails("room/disk", "ann", stores.ErrNotHeld)
		s.mustLock("room/disk", "ann") // like any lock
		s.mustGroup("room/", freeLock("room/gate"))
	},
}, {
	name: "a lock that is not declared cannot be withdrawn",
	rule: "Withdraw fails with ErrNotDeclared if the group does not have the lock, and changes nothing.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.withdrawFails("room/disk")
		s.mustDeclare("room/disk")
		s.mustWithdraw("room/disk")
		other.withdrawFails("room/disk")
		s.mustLock("room/disk", "ann")
		s.withdrawFails("room/disk")
		other.mustRefuse("room/disk", "bob")
		s.mustUnlock("room/disk", "ann")
	},
}, {
	name: "withdrawing a lock ends its hold",
	rule: withdrawRule + " Then the lock is free, however it was acquired.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		take := map[string]func() stores.Grant{
			"room/disk": func() stores.Grant { return s.mustLockMember("room/disk", "ann") },
			"room/gate": func() stores.Grant { return s.mustLock("room/gate", "ann") },
		}
		for name, take := range take {
			s.mustDeclare(name)
			take()
			other.mustWithdraw(name)
			s.unlockFails(name, "ann", stores.ErrNotHeld)
			s.mustLock(name, "bob")
			s.unlockFails(name, "ann", stores.ErrNotOwner)
			other.mustRefuse(name, "carl")
		}
		s.mustGroupLen("room/", 0)
	},
}, {
	name: "a withdrawal affects one lock",
	rule: withdrawRule + " Other locks of its group and of its holder do not change.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclare("room/disk", "room/gate", "room/disk/2")
		s.mustLockMember("room/disk", "ann")
		l := declaredLock(heldLock("room/gate", "ann", s.mustLockMember("room/gate", "ann")))
		s.mustWithdraw("room/disk")
		s.mustGroup("room/", freeLock("room/disk/2"), l)
		s.mustUnlock("room/gate", "ann")
	},
}, {
	name: "a withdrawn lock can be declared again",
	rule: "A withdrawn lock can be declared again as a new free lock with its own TTL.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "ann")
		other.mustWithdraw("room/disk")
		s.mustDeclareFor("room/disk", 2*lease)
		want := stores.LockInfo{Key: "room/disk", DeclaredTTL: 2 * lease}
		other.mustGroup("room/", want)
		s.unlockFails("room/disk", "ann", stores.ErrNotHeld)
		want.Owner, want.TTL, want.Token = "ann", 2*lease, s.mustLockMember("room/disk", "ann").Token
		other.mustGroup("room/", want)
	},
}, {
	name: "tokens grow across a withdrawal",
	rule: tokenRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		var last uint64
		for range 3 {
			s.mustDeclare("room/disk")
			last = f.wantGreater(s.mustLockMember("room/disk", "ann").Token, last)
			s.mustUnlock("room/disk", "ann")
			last = f.wantGreater(other.mustLockMember("room/disk", "ann").Token, last)
			other.mustWithdraw("room/disk")
			last = f.wantGreater(s.mustLock("room/disk", "ann").Token, last)
			s.mustUnlock("room/disk", "ann")
		}
	},
}, {
	name: "tokens grow after the lock did not exist for a while",
	rule: tokenRule,
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclareFor("room/disk", f.shortTTL())
		last := s.mustLockMember("room/disk", "ann").Token
		s.mustWithdraw("room/disk")
		f.waitExpired(4 * f.shortTTL())
		s.mustDeclare("room/disk")
		f.wantGreater(s.mustLockMember("room/disk", "bob").Token, last)
	},
}}

// memberRows test requests with a group.
var memberRows = []row{{
	name: "a free declared lock is granted",
	rule: "A request with a group acquires a declared lock like any other lock.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		f.want(other.mustLockMember("room/disk", "ann").Token != 0, "the token is zero")
		s.mustRefuse("room/disk", "bob")
		s.unlockFails("room/disk", "bob", stores.ErrNotOwner)
		s.mustUnlock("room/disk", "ann")
		s.mustLockMember("room/disk", "bob")
	},
}, {
	name: "a lock that is not declared is rejected",
	rule: "A request with a group fails with ErrNotDeclared if the group does not have the lock, held or free, and acquires nothing.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/gate", "hall/disk")
		s.lockMemberFails("room/disk", "ann", stores.ErrNotDeclared)
		s.mustLock("room/disk", "bob")
		other.lockMemberFails("room/disk", "ann", stores.ErrNotDeclared)
		other.lockMemberFails("room/disk", "bob", stores.ErrNotDeclared)
		s.mustUnlock("room/disk", "bob")
	},
}, {
	name: "a held declared lock is refused to other owners",
	rule: "A held declared lock is a result and not an error, however the holder acquired it.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "ann")
		other.mustRefuseMember("room/disk", "bob")
		s.mustUnlock("room/disk", "ann")
		s.mustLock("room/disk", "ann")
		other.mustRefuseMember("room/disk", "bob")
		s.mustUnlock("room/disk", "ann")
	},
}, {
	name: "a declared lock is rejected if its owner holds it",
	rule: repeatedRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		for range 2 {
			l := declaredLock(heldLock("room/disk", "ann", s.mustLockMember("room/disk", "ann")))
			other.lockMemberFails("room/disk", "ann", stores.ErrRepeated)
			s.lockMemberFails("room/disk", "ann", stores.ErrRepeated)
			s.mustGroup("room/", l)
			s.mustUnlock("room/disk", "ann")
		}
		s.mustLock("room/disk", "ann")
		other.lockMemberFails("room/disk", "ann", stores.ErrRepeated)
	},
}, {
	name: "an owner acquires a declared lock again after it expired",
	rule: "An expired lock is free: its former owner can acquire it again.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclareFor("room/disk", f.shortTTL())
		for range 2 {
			s.mustLockMember("room/disk", "ann")
			f.waitExpired(f.shortTTL())
		}
	},
}, {
	name: "requests without a group treat a declared lock like any other",
	rule: "Requests without a group treat a declared lock like any other: they have a TTL, and are refused if the owner holds it.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclareFor("room/disk", 2*lease)
		l := heldLock("room/disk", "ann", s.mustLock("room/disk", "ann"))
		l.DeclaredTTL = 2 * lease
		other.mustGroup("room/", l)
		other.mustRefuse("room/disk", "ann")
		s.mustUnlock("room/disk", "ann")
		s.mustLockMember("room/disk", "ann")
		other.mustRefuse("room/disk", "ann")
	},
}, {
	name:  "declared and other locks can be acquired together",
	rule:  "LockAll has no group: it acquires declared locks like others. Withdraw ends the hold of one of them.",
	needs: []string{needMulti},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		g := s.mustLockAll("ann", "room/disk", "room/gate")
		s.mustGroup("room/", declaredLock(heldLock("room/disk", "ann", g)))
		other.mustRefuseMember("room/disk", "bob")
		other.mustWithdraw("room/disk")
		s.unlockFails("room/disk", "ann", stores.ErrNotHeld)
		s.mustUnlock("room/gate", "ann")
	},
}}

// memberTimeRows test the TTL of declared locks.
var memberTimeRows = []row{{
	name: "a declared lock lasts for its declared TTL",
	rule: "A request with a group has the TTL of the declaration: the lock is held for exactly that time.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclareFor("room/disk", f.briefTTL())
		sent := time.Now()
		s.mustLockMember("room/disk", "ann")
		s.mustExpireBetween("room/disk", sent.Add(f.briefTTL()), time.Now().Add(f.briefTTL()+f.Slack))
	},
}, {
	name: "a grant of a declared lock reports its TTL",
	rule: "The grant of a request with a group has the declared TTL, which counts from the grant.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclareFor("room/disk", 2*lease)
		g := s.mustLockMember("room/disk", "ann")
		f.want(g.TTL == 2*lease, "the TTL is %v, want %v", g.TTL, 2*lease)
		s.mustUnlock("room/disk", "ann")
		g = s.mustLock("room/disk", "bob")
		f.want(g.TTL == lease, "without the group the TTL is %v, want %v", g.TTL, lease)
	},
}, {
	name: "a declared TTL may be a millisecond or 68 years",
	rule: "A declaration has the same bounds for its TTL as a request, and the lock lasts for it.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclareFor("room/short", stores.MinTTL)
		s.mustDeclareFor("room/long", stores.MaxTTL)
		s.mustGroup("room/",
			stores.LockInfo{Key: "room/long", DeclaredTTL: stores.MaxTTL}, stores.LockInfo{Key: "room/short", DeclaredTTL: stores.MinTTL})
		s.mustLockMember("room/short", "ann")
		sent := time.Now()
		left := s.mustLockMember("room/long", "ann").Expires.Sub(sent)
		f.want(left > stores.MaxTTL/2, "the holder must stop after %v", left)
		f.waitExpired(f.shortTTL())
		s.mustRefuseMember("room/long", "bob")
		s.mustLockMember("room/short", "bob")
	},
}, {
	name: "the holder of a declared lock stops before the next owner starts",
	rule: "Expires counts the declared TTL from before the request was sent.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclareFor("room/disk", f.briefTTL())
		sent := time.Now()
		g := s.mustLockMember("room/disk", "ann")
		f.wantDeadlineFromSend(g, sent, f.briefTTL())
		s.mustExpireBetween("room/disk", g.Expires, time.Now().Add(f.briefTTL()+f.Slack))
	},
}, {
	name: "the holder of a declared lock has most of its lease",
	rule: "Expires is the declared TTL minus the duration of the request and a safety margin.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclare("room/disk")
		sent := time.Now()
		left := s.mustLockMember("room/disk", "ann").Expires.Sub(sent)
		f.want(left > lease/2, "of %v the holder has only %v", lease, left)
	},
}, {
	name:      "the deadline of a declared lock has a monotonic reading",
	rule:      "Expires has a monotonic reading, so that a holder stops in time even if the wall clock is set.",
	realClock: true,
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclare("room/disk")
		f.wantMonotonic(s.mustLockMember("room/disk", "ann"))
	},
}, {
	name:  "a declared lock is renewed like any other",
	rule:  "Renew extends a declared lock to the renewal's TTL from now; the declared TTL does not change.",
	needs: []string{needRenew},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclareFor("room/disk", f.ampleTTL())
		g := s.mustLockMember("room/disk", "ann")
		renewed, err := other.renew("room/disk", "ann", lease)
		if err != nil {
			f.want(f.mayHaveExpired(), "Renew failed: %v", err)
			return // the machine was too slow
		}
		f.want(renewed.Token == g.Token, "token %d became %d", g.Token, renewed.Token)
		l := heldLock("room/disk", "ann", g)
		l.DeclaredTTL = f.ampleTTL()
		other.mustGroup("room/", l)
		f.waitExpired(f.ampleTTL())
		s.mustRefuseMember("room/disk", "bob")
		s.renewFails("room/disk", "bob", stores.ErrNotOwner)
		s.mustUnlock("room/disk", "ann")
		s.renewFails("room/disk", "ann", stores.ErrNotHeld)
		s.mustGroup("room/", stores.LockInfo{Key: "room/disk", DeclaredTTL: f.ampleTTL()})
		s.mustLockMember("room/disk", "bob")
		f.waitExpired(f.ampleTTL())
		s.unlockFails("room/disk", "bob", stores.ErrNotHeld)
	},
}, {
	name:  "a renewal ignores the group",
	rule:  "Renew ignores Group: it renews any lock that the owner holds, declared or not.",
	needs: []string{needRenew},
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "ann")
		s.mustLock("room/gate", "ann")
		for _, name := range []string{"room/disk", "room/gate"} {
			req := f.member(name, "ann")
			req.TTL = 2 * lease
			g, err := stores.Renew(f.ctx, s.Store, req)
			f.want(err == nil && g.Acquired && g.TTL == 2*lease, "Renew of %q returned %+v and %v", name, g, err)
		}
	},
}}

// memberRevokeRows test Revoke of declared locks, and the calls of a former holder.
var memberRevokeRows = []row{{
	name:  "a declared lock is revoked like any other",
	rule:  "Revoke ends the hold of a declared lock, which still exists. ErrNotHeld and ErrNotOwner are as for any lock.",
	needs: []string{needRevoke},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.revokeFails("room/disk", "", stores.ErrNotHeld)
		var last uint64
		for _, from := range []string{"ann", ""} {
			last = f.wantGreater(s.mustLockMember("room/disk", "ann").Token, last)
			other.revokeFails("room/disk", "bob", stores.ErrNotOwner)
			other.mustRevoke("room/disk", from)
			s.unlockFails("room/disk", "ann", stores.ErrNotHeld)
			s.mustGroup("room/", freeLock("room/disk"))
		}
		f.wantGreater(s.mustLockMember("room/disk", "bob").Token, last)
	},
}, {
	name:  "a withdrawn lock cannot be renewed",
	rule:  "After Withdraw the former owner's Renew fails with ErrNotHeld, or with ErrNotOwner once another owner holds the lock.",
	needs: []string{needRenew},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "ann")
		other.mustWithdraw("room/disk")
		s.renewFails("room/disk", "ann", stores.ErrNotHeld)
		s.mustDeclare("room/disk")
		s.renewFails("room/disk", "ann", stores.ErrNotHeld)
		other.mustLockMember("room/disk", "bob")
		s.renewFails("room/disk", "ann", stores.ErrNotOwner)
	},
}, {
	name:  "a withdrawn lock cannot be revoked",
	rule:  "After Withdraw the lock is free: Revoke fails with ErrNotHeld.",
	needs: []string{needRevoke},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLockMember("room/disk", "ann")
		other.mustWithdraw("room/disk")
		s.revokeFails("room/disk", "ann", stores.ErrNotHeld)
		s.revokeFails("room/disk", "", stores.ErrNotHeld)
	},
}}
