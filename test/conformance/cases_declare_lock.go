package conformance

import (
	"time"

	"github.com/mortise-lock/mortise/stores"
)

const (
	withdrawRule = "Withdraw ends the lock's existence, and if somebody holds it that too, in one step."
	repeatedRule = "A request with a group fails with ErrRepeated if its owner holds the lock or waits for it, and changes nothing."
)

// withdrawnRows are about locks that exist no more.
var withdrawnRows = []row{{
	name: "a lock that is withdrawn exists no more",
	rule: withdrawRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk", "room/gate")
		other.mustWithdraw("room/disk")
		s.mustGroup("room/", freeLock("room/gate"))
		s.lockMemberFails("room/disk", "ann", stores.ErrNotDeclared)
		s.unlockFails("room/disk", "ann", stores.ErrNotHeld)
		s.mustLock("room/disk", "ann") // as any lock
		s.mustGroup("room/", freeLock("room/gate"))
	},
}, {
	name: "a lock that is not declared is not withdrawn",
	rule: "Withdraw fails with ErrNotDeclared if the group has no such lock, and changes nothing.",
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
	name: "a lock that is withdrawn is taken from its holder",
	rule: withdrawRule + " Then nobody holds it, however it was taken.",
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
	name: "a withdrawal is of one lock",
	rule: withdrawRule + " The others of its group and of its holder stay as they are.",
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
	name: "a lock that was withdrawn is declared anew",
	rule: "A lock that was withdrawn may be declared again: as a new lock, with its own TTL, which nobody holds.",
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
	name: "tokens grow across a time when the lock did not exist",
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

// memberRows are about requests for one of a group.
var memberRows = []row{{
	name: "who asks for a declared lock gets it if nobody holds it",
	rule: "A request with a group is for a lock that exists, and takes it as any lock is taken.",
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
	name: "who asks for a lock that does not exist is told so",
	rule: "A request with a group fails with ErrNotDeclared if the group has no such lock, held or not, and takes nothing.",
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
	name: "a declared lock that is held is refused to others",
	rule: "That a declared lock is held is an answer and not an error, however its holder took it.",
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
	name: "who has a declared lock is told so",
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
	name: "who had a declared lock until it expired may ask again",
	rule: "An expired lock is not held by anybody, and so not by the owner who asks again.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclareFor("room/disk", f.shortTTL())
		for range 2 {
			s.mustLockMember("room/disk", "ann")
			f.waitExpired(f.shortTTL())
		}
	},
}, {
	name: "who does not name the group gets a declared lock like any other",
	rule: "For requests without a group a declared lock is a lock like any other: they bring a TTL, and are refused to their owner.",
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
	name:  "several locks are taken at once, be they declared or not",
	rule:  "LockAll names no group: it takes declared locks like others. A withdrawal ends that one of them.",
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

// memberTimeRows are about how long a lock lasts for one of the group.
var memberTimeRows = []row{{
	name: "a declared lock lasts as long as it was declared to",
	rule: "The TTL of a request with a group is that of the declaration: the lock is held for it, not for less and not for more.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclareFor("room/disk", f.briefTTL())
		sent := time.Now()
		s.mustLockMember("room/disk", "ann")
		s.mustExpireBetween("room/disk", sent.Add(f.briefTTL()), time.Now().Add(f.briefTTL()+f.Slack))
	},
}, {
	name: "a grant of a declared lock tells its TTL",
	rule: "The grant to one of a group carries how long the lock lasts from the grant, as declared.",
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
	name: "a millisecond and 68 years are TTLs of a declaration",
	rule: "A declaration has a TTL within the bounds of any TTL, and the lock lasts for it.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclareFor("room/short", stores.MinTTL)
		s.mustDeclareFor("room/long", stores.MaxTTL)
		s.mustGroup("room/",
			stores.LockInfo{Key: "room/long", DeclaredTTL: stores.MaxTTL}, stores.LockInfo{Key: "room/short", DeclaredTTL: stores.MinTTL})
		s.mustLockMember("room/short", "ann")
		sent := time.Now()
		left := s.mustLockMember("room/long", "ann").Expires.Sub(sent)
		f.want(left > stores.MaxTTL/2, "the holder is told to stop after %v", left)
		f.waitExpired(f.shortTTL())
		s.mustRefuseMember("room/long", "bob")
		s.mustLockMember("room/short", "bob")
	},
}, {
	name: "the holder of a declared lock stops before the next one starts",
	rule: "Expires is counted from before the request left, with the TTL of the declaration.",
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
	rule: "Expires leaves the holder the TTL of the declaration but for the time that the request took and a reserve.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclare("room/disk")
		sent := time.Now()
		left := s.mustLockMember("room/disk", "ann").Expires.Sub(sent)
		f.want(left > lease/2, "of %v the holder is left %v", lease, left)
	},
}, {
	name:      "the deadline of a declared lock is on the monotonic clock",
	rule:      "Expires carries a monotonic reading, so that setting the wall clock does not make a holder overstay.",
	realClock: true,
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclare("room/disk")
		f.wantMonotonic(s.mustLockMember("room/disk", "ann"))
	},
}, {
	name:  "a declared lock is renewed like any other",
	rule:  "Renew lets a declared lock last for the TTL of the renewal from now; it stays declared as it was.",
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
	name:  "a renewal has no use for a group",
	rule:  "Renew has no use for a Group: it is for who holds the lock, declared or not.",
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

// memberEndRows are about how a declared lock comes free, but for Unlock and time.
var memberRevokeRows = []row{{
	name:  "a declared lock is revoked like any other",
	rule:  "Revoke ends the lock of the owner, and not its existence. ErrNotHeld and ErrNotOwner are as for any lock.",
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
	name:  "whose lock was withdrawn does not renew it",
	rule:  "After Withdraw the former owner's Renew fails with ErrNotHeld, or with ErrNotOwner once another holds the lock.",
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
	name:  "whose lock was withdrawn has nothing to be revoked",
	rule:  "After Withdraw nobody holds the lock: Revoke fails with ErrNotHeld.",
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
