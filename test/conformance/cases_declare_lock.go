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
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door", "room/gate")
		other.withdraws("room/door")
		s.gathers("room/", free("room/gate"))
		s.rejects("room/door", "ann", stores.ErrNotDeclared)
		s.keeps("room/door", "ann", stores.ErrNotHeld)
		s.grants("room/door", "ann") // as any lock
		s.gathers("room/", free("room/gate"))
	},
}, {
	name: "a lock that is not declared is not withdrawn",
	rule: "Withdraw fails with ErrNotDeclared if the group has no such lock, and changes nothing.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.lacks("room/door")
		s.declares("room/door")
		s.withdraws("room/door")
		other.lacks("room/door")
		s.grants("room/door", "ann")
		s.lacks("room/door")
		other.refuses("room/door", "bob")
		s.frees("room/door", "ann")
	},
}, {
	name: "a lock that is withdrawn is taken from its holder",
	rule: withdrawRule + " Then nobody holds it, however it was taken.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		take := map[string]func() stores.Grant{
			"room/door": func() stores.Grant { return s.admits("room/door", "ann") },
			"room/gate": func() stores.Grant { return s.grants("room/gate", "ann") },
		}
		for name, take := range take {
			s.declares(name)
			take()
			other.withdraws(name)
			s.keeps(name, "ann", stores.ErrNotHeld)
			s.grants(name, "bob")
			s.keeps(name, "ann", stores.ErrNotOwner)
			other.refuses(name, "carl")
		}
		s.gathered("room/", 0)
	},
}, {
	name: "a withdrawal is of one lock",
	rule: withdrawRule + " The others of its group and of its holder stay as they are.",
	check: func(b *bench) {
		s := b.open()
		s.declares("room/door", "room/gate", "room/door/2")
		s.admits("room/door", "ann")
		l := declared(held("room/gate", "ann", s.admits("room/gate", "ann")))
		s.withdraws("room/door")
		s.gathers("room/", free("room/door/2"), l)
		s.frees("room/gate", "ann")
	},
}, {
	name: "a lock that was withdrawn is declared anew",
	rule: "A lock that was withdrawn may be declared again: as a new lock, with its own TTL, which nobody holds.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.admits("room/door", "ann")
		other.withdraws("room/door")
		s.declaresFor("room/door", 2*lease)
		want := stores.LockInfo{Key: "room/door", DeclaredTTL: 2 * lease}
		other.gathers("room/", want)
		s.keeps("room/door", "ann", stores.ErrNotHeld)
		want.Owner, want.TTL, want.Token = "ann", 2*lease, s.admits("room/door", "ann").Token
		other.gathers("room/", want)
	},
}, {
	name: "tokens grow across a withdrawal",
	rule: tokenRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		var last uint64
		for range 3 {
			s.declares("room/door")
			last = b.greater(s.admits("room/door", "ann").Token, last)
			s.frees("room/door", "ann")
			last = b.greater(other.admits("room/door", "ann").Token, last)
			other.withdraws("room/door")
			last = b.greater(s.grants("room/door", "ann").Token, last)
			s.frees("room/door", "ann")
		}
	},
}, {
	name: "tokens grow across a time when the lock did not exist",
	rule: tokenRule,
	check: func(b *bench) {
		s := b.open()
		s.declaresFor("room/door", b.short())
		last := s.admits("room/door", "ann").Token
		s.withdraws("room/door")
		b.expire(4 * b.short())
		s.declares("room/door")
		b.greater(s.admits("room/door", "bob").Token, last)
	},
}}

// memberRows are about requests for one of a group.
var memberRows = []row{{
	name: "who asks for a declared lock gets it if nobody holds it",
	rule: "A request with a group is for a lock that exists, and takes it as any lock is taken.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		b.want(other.admits("room/door", "ann").Token != 0, "the token is zero")
		s.refuses("room/door", "bob")
		s.keeps("room/door", "bob", stores.ErrNotOwner)
		s.frees("room/door", "ann")
		s.admits("room/door", "bob")
	},
}, {
	name: "who asks for a lock that does not exist is told so",
	rule: "A request with a group fails with ErrNotDeclared if the group has no such lock, held or not, and takes nothing.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/gate", "hall/door")
		s.rejects("room/door", "ann", stores.ErrNotDeclared)
		s.grants("room/door", "bob")
		other.rejects("room/door", "ann", stores.ErrNotDeclared)
		other.rejects("room/door", "bob", stores.ErrNotDeclared)
		s.frees("room/door", "bob")
	},
}, {
	name: "a declared lock that is held is refused to others",
	rule: "That a declared lock is held is an answer and not an error, however its holder took it.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.admits("room/door", "ann")
		other.bars("room/door", "bob")
		s.frees("room/door", "ann")
		s.grants("room/door", "ann")
		other.bars("room/door", "bob")
		s.frees("room/door", "ann")
	},
}, {
	name: "who has a declared lock is told so",
	rule: repeatedRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		for range 2 {
			l := declared(held("room/door", "ann", s.admits("room/door", "ann")))
			other.rejects("room/door", "ann", stores.ErrRepeated)
			s.rejects("room/door", "ann", stores.ErrRepeated)
			s.gathers("room/", l)
			s.frees("room/door", "ann")
		}
		s.grants("room/door", "ann")
		other.rejects("room/door", "ann", stores.ErrRepeated)
	},
}, {
	name: "who had a declared lock until it expired may ask again",
	rule: "An expired lock is not held by anybody, and so not by the owner who asks again.",
	check: func(b *bench) {
		s := b.open()
		s.declaresFor("room/door", b.short())
		for range 2 {
			s.admits("room/door", "ann")
			b.expire(b.short())
		}
	},
}, {
	name: "who does not name the group gets a declared lock like any other",
	rule: "For requests without a group a declared lock is a lock like any other: they bring a TTL, and are refused to their owner.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declaresFor("room/door", 2*lease)
		l := held("room/door", "ann", s.grants("room/door", "ann"))
		l.DeclaredTTL = 2 * lease
		other.gathers("room/", l)
		other.refuses("room/door", "ann")
		s.frees("room/door", "ann")
		s.admits("room/door", "ann")
		other.refuses("room/door", "ann")
	},
}, {
	name:  "several locks are taken at once, be they declared or not",
	rule:  "LockAll names no group: it takes declared locks like others. A withdrawal ends that one of them.",
	needs: []string{multi},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		g := s.grantsAll("ann", "room/door", "room/gate")
		s.gathers("room/", declared(held("room/door", "ann", g)))
		other.bars("room/door", "bob")
		other.withdraws("room/door")
		s.keeps("room/door", "ann", stores.ErrNotHeld)
		s.frees("room/gate", "ann")
	},
}}

// memberTimeRows are about how long a lock lasts for one of the group.
var memberTimeRows = []row{{
	name: "a declared lock lasts as long as it was declared to",
	rule: "The TTL of a request with a group is that of the declaration: the lock is held for it, not for less and not for more.",
	check: func(b *bench) {
		s := b.open()
		s.declaresFor("room/door", b.brief())
		sent := time.Now()
		s.admits("room/door", "ann")
		s.ends("room/door", sent.Add(b.brief()), time.Now().Add(b.brief()+b.Slack))
	},
}, {
	name: "a grant of a declared lock tells its TTL",
	rule: "The grant to one of a group carries how long the lock lasts from the grant, as declared.",
	check: func(b *bench) {
		s := b.open()
		s.declaresFor("room/door", 2*lease)
		g := s.admits("room/door", "ann")
		b.want(g.TTL == 2*lease, "the TTL is %v, want %v", g.TTL, 2*lease)
		s.frees("room/door", "ann")
		g = s.grants("room/door", "bob")
		b.want(g.TTL == lease, "without the group the TTL is %v, want %v", g.TTL, lease)
	},
}, {
	name: "a millisecond and 68 years are TTLs of a declaration",
	rule: "A declaration has a TTL within the bounds of any TTL, and the lock lasts for it.",
	check: func(b *bench) {
		s := b.open()
		s.declaresFor("room/short", stores.MinTTL)
		s.declaresFor("room/long", stores.MaxTTL)
		s.gathers("room/",
			stores.LockInfo{Key: "room/long", DeclaredTTL: stores.MaxTTL}, stores.LockInfo{Key: "room/short", DeclaredTTL: stores.MinTTL})
		s.admits("room/short", "ann")
		sent := time.Now()
		left := s.admits("room/long", "ann").Expires.Sub(sent)
		b.want(left > stores.MaxTTL/2, "the holder is told to stop after %v", left)
		b.expire(b.short())
		s.bars("room/long", "bob")
		s.admits("room/short", "bob")
	},
}, {
	name: "the holder of a declared lock stops before the next one starts",
	rule: "Expires is counted from before the request left, with the TTL of the declaration.",
	check: func(b *bench) {
		s := b.open()
		s.declaresFor("room/door", b.brief())
		sent := time.Now()
		g := s.admits("room/door", "ann")
		b.counted(g, sent, b.brief())
		s.ends("room/door", g.Expires, time.Now().Add(b.brief()+b.Slack))
	},
}, {
	name: "the holder of a declared lock has most of its lease",
	rule: "Expires leaves the holder the TTL of the declaration but for the time that the request took and a reserve.",
	check: func(b *bench) {
		s := b.open()
		s.declares("room/door")
		sent := time.Now()
		left := s.admits("room/door", "ann").Expires.Sub(sent)
		b.want(left > lease/2, "of %v the holder is left %v", lease, left)
	},
}, {
	name:  "the deadline of a declared lock is on the monotonic clock",
	rule:  "Expires carries a monotonic reading, so that setting the wall clock does not make a holder overstay.",
	awake: true,
	check: func(b *bench) {
		s := b.open()
		s.declares("room/door")
		b.monotonic(s.admits("room/door", "ann"))
	},
}, {
	name:  "a declared lock is renewed like any other",
	rule:  "Renew lets a declared lock last for the TTL of the renewal from now; it stays declared as it was.",
	needs: []string{renewing},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declaresFor("room/door", b.ample())
		g := s.admits("room/door", "ann")
		renewed, err := other.renew("room/door", "ann", lease)
		if err != nil {
			b.want(b.lapsed(), "Renew failed: %v", err)
			return // the machine was too slow
		}
		b.want(renewed.Token == g.Token, "token %d became %d", g.Token, renewed.Token)
		l := held("room/door", "ann", g)
		l.DeclaredTTL = b.ample()
		other.gathers("room/", l)
		b.expire(b.ample())
		s.bars("room/door", "bob")
		s.lapses("room/door", "bob", stores.ErrNotOwner)
		s.frees("room/door", "ann")
		s.lapses("room/door", "ann", stores.ErrNotHeld)
		s.gathers("room/", stores.LockInfo{Key: "room/door", DeclaredTTL: b.ample()})
		s.admits("room/door", "bob")
		b.expire(b.ample())
		s.keeps("room/door", "bob", stores.ErrNotHeld)
	},
}, {
	name:  "a renewal has no use for a group",
	rule:  "Renew has no use for a Group: it is for who holds the lock, declared or not.",
	needs: []string{renewing},
	check: func(b *bench) {
		s := b.open()
		s.declares("room/door")
		s.admits("room/door", "ann")
		s.grants("room/gate", "ann")
		for _, name := range []string{"room/door", "room/gate"} {
			req := b.member(name, "ann")
			req.TTL = 2 * lease
			g, err := stores.Renew(b.ctx, s.Store, req)
			b.want(err == nil && g.Acquired && g.TTL == 2*lease, "Renew of %q returned %+v and %v", name, g, err)
		}
	},
}}

// memberEndRows are about how a declared lock comes free, but for Unlock and time.
var memberEndRows = []row{{
	name:  "a declared lock is revoked like any other",
	rule:  "Revoke ends the lock of the owner, and not its existence. ErrNotHeld and ErrNotOwner are as for any lock.",
	needs: []string{revoking},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.spares("room/door", "", stores.ErrNotHeld)
		var last uint64
		for _, from := range []string{"ann", ""} {
			last = b.greater(s.admits("room/door", "ann").Token, last)
			other.spares("room/door", "bob", stores.ErrNotOwner)
			other.revokes("room/door", from)
			s.keeps("room/door", "ann", stores.ErrNotHeld)
			s.gathers("room/", free("room/door"))
		}
		b.greater(s.admits("room/door", "bob").Token, last)
	},
}, {
	name:  "whose lock was withdrawn does not renew it",
	rule:  "After Withdraw the former owner's Renew fails with ErrNotHeld, or with ErrNotOwner once another holds the lock.",
	needs: []string{renewing},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.admits("room/door", "ann")
		other.withdraws("room/door")
		s.lapses("room/door", "ann", stores.ErrNotHeld)
		s.declares("room/door")
		s.lapses("room/door", "ann", stores.ErrNotHeld)
		other.admits("room/door", "bob")
		s.lapses("room/door", "ann", stores.ErrNotOwner)
	},
}, {
	name:  "whose lock was withdrawn has nothing to be revoked",
	rule:  "After Withdraw nobody holds the lock: Revoke fails with ErrNotHeld.",
	needs: []string{revoking},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.admits("room/door", "ann")
		other.withdraws("room/door")
		s.spares("room/door", "ann", stores.ErrNotHeld)
		s.spares("room/door", "", stores.ErrNotHeld)
	},
}}
