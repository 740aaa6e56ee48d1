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
		s.declares("room/disk", "room/gate")
		other.withdraws("room/disk")
		s.gathers("room/", free("room/gate"))
		s.rejects("room/disk", "ann", stores.ErrNotDeclared)
		s.keeps("room/disk", "ann", stores.ErrNotHeld)
		s.grants("room/disk", "ann") // as any lock
		s.gathers("room/", free("room/gate"))
	},
}, {
	name: "a lock that is not declared is not withdrawn",
	rule: "Withdraw fails with ErrNotDeclared if the group has no such lock, and changes nothing.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.lacks("room/disk")
		s.declares("room/disk")
		s.withdraws("room/disk")
		other.lacks("room/disk")
		s.grants("room/disk", "ann")
		s.lacks("room/disk")
		other.refuses("room/disk", "bob")
		s.frees("room/disk", "ann")
	},
}, {
	name: "a lock that is withdrawn is taken from its holder",
	rule: withdrawRule + " Then nobody holds it, however it was taken.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		take := map[string]func() stores.Grant{
			"room/disk": func() stores.Grant { return s.admits("room/disk", "ann") },
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
		s.declares("room/disk", "room/gate", "room/disk/2")
		s.admits("room/disk", "ann")
		l := declared(held("room/gate", "ann", s.admits("room/gate", "ann")))
		s.withdraws("room/disk")
		s.gathers("room/", free("room/disk/2"), l)
		s.frees("room/gate", "ann")
	},
}, {
	name: "a lock that was withdrawn is declared anew",
	rule: "A lock that was withdrawn may be declared again: as a new lock, with its own TTL, which nobody holds.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.admits("room/disk", "ann")
		other.withdraws("room/disk")
		s.declaresFor("room/disk", 2*lease)
		want := stores.LockInfo{Key: "room/disk", DeclaredTTL: 2 * lease}
		other.gathers("room/", want)
		s.keeps("room/disk", "ann", stores.ErrNotHeld)
		want.Owner, want.TTL, want.Token = "ann", 2*lease, s.admits("room/disk", "ann").Token
		other.gathers("room/", want)
	},
}, {
	name: "tokens grow across a withdrawal",
	rule: tokenRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		var last uint64
		for range 3 {
			s.declares("room/disk")
			last = b.greater(s.admits("room/disk", "ann").Token, last)
			s.frees("room/disk", "ann")
			last = b.greater(other.admits("room/disk", "ann").Token, last)
			other.withdraws("room/disk")
			last = b.greater(s.grants("room/disk", "ann").Token, last)
			s.frees("room/disk", "ann")
		}
	},
}, {
	name: "tokens grow across a time when the lock did not exist",
	rule: tokenRule,
	check: func(b *bench) {
		s := b.open()
		s.declaresFor("room/disk", b.short())
		last := s.admits("room/disk", "ann").Token
		s.withdraws("room/disk")
		b.expire(4 * b.short())
		s.declares("room/disk")
		b.greater(s.admits("room/disk", "bob").Token, last)
	},
}}

// memberRows are about requests for one of a group.
var memberRows = []row{{
	name: "who asks for a declared lock gets it if nobody holds it",
	rule: "A request with a group is for a lock that exists, and takes it as any lock is taken.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		b.want(other.admits("room/disk", "ann").Token != 0, "the token is zero")
		s.refuses("room/disk", "bob")
		s.keeps("room/disk", "bob", stores.ErrNotOwner)
		s.frees("room/disk", "ann")
		s.admits("room/disk", "bob")
	},
}, {
	name: "who asks for a lock that does not exist is told so",
	rule: "A request with a group fails with ErrNotDeclared if the group has no such lock, held or not, and takes nothing.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/gate", "hall/disk")
		s.rejects("room/disk", "ann", stores.ErrNotDeclared)
		s.grants("room/disk", "bob")
		other.rejects("room/disk", "ann", stores.ErrNotDeclared)
		other.rejects("room/disk", "bob", stores.ErrNotDeclared)
		s.frees("room/disk", "bob")
	},
}, {
	name: "a declared lock that is held is refused to others",
	rule: "That a declared lock is held is an answer and not an error, however its holder took it.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.admits("room/disk", "ann")
		other.bars("room/disk", "bob")
		s.frees("room/disk", "ann")
		s.grants("room/disk", "ann")
		other.bars("room/disk", "bob")
		s.frees("room/disk", "ann")
	},
}, {
	name: "who has a declared lock is told so",
	rule: repeatedRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		for range 2 {
			l := declared(held("room/disk", "ann", s.admits("room/disk", "ann")))
			other.rejects("room/disk", "ann", stores.ErrRepeated)
			s.rejects("room/disk", "ann", stores.ErrRepeated)
			s.gathers("room/", l)
			s.frees("room/disk", "ann")
		}
		s.grants("room/disk", "ann")
		other.rejects("room/disk", "ann", stores.ErrRepeated)
	},
}, {
	name: "who had a declared lock until it expired may ask again",
	rule: "An expired lock is not held by anybody, and so not by the owner who asks again.",
	check: func(b *bench) {
		s := b.open()
		s.declaresFor("room/disk", b.short())
		for range 2 {
			s.admits("room/disk", "ann")
			b.expire(b.short())
		}
	},
}, {
	name: "who does not name the group gets a declared lock like any other",
	rule: "For requests without a group a declared lock is a lock like any other: they bring a TTL, and are refused to their owner.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declaresFor("room/disk", 2*lease)
		l := held("room/disk", "ann", s.grants("room/disk", "ann"))
		l.DeclaredTTL = 2 * lease
		other.gathers("room/", l)
		other.refuses("room/disk", "ann")
		s.frees("room/disk", "ann")
		s.admits("room/disk", "ann")
		other.refuses("room/disk", "ann")
	},
}, {
	name:  "several locks are taken at once, be they declared or not",
	rule:  "LockAll names no group: it takes declared locks like others. A withdrawal ends that one of them.",
	needs: []string{multi},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		g := s.grantsAll("ann", "room/disk", "room/gate")
		s.gathers("room/", declared(held("room/disk", "ann", g)))
		other.bars("room/disk", "bob")
		other.withdraws("room/disk")
		s.keeps("room/disk", "ann", stores.ErrNotHeld)
		s.frees("room/gate", "ann")
	},
}}

// memberTimeRows are about how long a lock lasts for one of the group.
var memberTimeRows = []row{{
	name: "a declared lock lasts as long as it was declared to",
	rule: "The TTL of a request with a group is that of the declaration: the lock is held for it, not for less and not for more.",
	check: func(b *bench) {
		s := b.open()
		s.declaresFor("room/disk", b.brief())
		sent := time.Now()
		s.admits("room/disk", "ann")
		s.ends("room/disk", sent.Add(b.brief()), time.Now().Add(b.brief()+b.Slack))
	},
}, {
	name: "a grant of a declared lock tells its TTL",
	rule: "The grant to one of a group carries how long the lock lasts from the grant, as declared.",
	check: func(b *bench) {
		s := b.open()
		s.declaresFor("room/disk", 2*lease)
		g := s.admits("room/disk", "ann")
		b.want(g.TTL == 2*lease, "the TTL is %v, want %v", g.TTL, 2*lease)
		s.frees("room/disk", "ann")
		g = s.grants("room/disk", "bob")
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
		s.declaresFor("room/disk", b.brief())
		sent := time.Now()
		g := s.admits("room/disk", "ann")
		b.counted(g, sent, b.brief())
		s.ends("room/disk", g.Expires, time.Now().Add(b.brief()+b.Slack))
	},
}, {
	name: "the holder of a declared lock has most of its lease",
	rule: "Expires leaves the holder the TTL of the declaration but for the time that the request took and a reserve.",
	check: func(b *bench) {
		s := b.open()
		s.declares("room/disk")
		sent := time.Now()
		left := s.admits("room/disk", "ann").Expires.Sub(sent)
		b.want(left > lease/2, "of %v the holder is left %v", lease, left)
	},
}, {
	name:  "the deadline of a declared lock is on the monotonic clock",
	rule:  "Expires carries a monotonic reading, so that setting the wall clock does not make a holder overstay.",
	awake: true,
	check: func(b *bench) {
		s := b.open()
		s.declares("room/disk")
		b.monotonic(s.admits("room/disk", "ann"))
	},
}, {
	name:  "a declared lock is renewed like any other",
	rule:  "Renew lets a declared lock last for the TTL of the renewal from now; it stays declared as it was.",
	needs: []string{renewing},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declaresFor("room/disk", b.ample())
		g := s.admits("room/disk", "ann")
		renewed, err := other.renew("room/disk", "ann", lease)
		if err != nil {
			b.want(b.lapsed(), "Renew failed: %v", err)
			return // the machine was too slow
		}
		b.want(renewed.Token == g.Token, "token %d became %d", g.Token, renewed.Token)
		l := held("room/disk", "ann", g)
		l.DeclaredTTL = b.ample()
		other.gathers("room/", l)
		b.expire(b.ample())
		s.bars("room/disk", "bob")
		s.lapses("room/disk", "bob", stores.ErrNotOwner)
		s.frees("room/disk", "ann")
		s.lapses("room/disk", "ann", stores.ErrNotHeld)
		s.gathers("room/", stores.LockInfo{Key: "room/disk", DeclaredTTL: b.ample()})
		s.admits("room/disk", "bob")
		b.expire(b.ample())
		s.keeps("room/disk", "bob", stores.ErrNotHeld)
	},
}, {
	name:  "a renewal has no use for a group",
	rule:  "Renew has no use for a Group: it is for who holds the lock, declared or not.",
	needs: []string{renewing},
	check: func(b *bench) {
		s := b.open()
		s.declares("room/disk")
		s.admits("room/disk", "ann")
		s.grants("room/gate", "ann")
		for _, name := range []string{"room/disk", "room/gate"} {
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
		s.declares("room/disk")
		s.spares("room/disk", "", stores.ErrNotHeld)
		var last uint64
		for _, from := range []string{"ann", ""} {
			last = b.greater(s.admits("room/disk", "ann").Token, last)
			other.spares("room/disk", "bob", stores.ErrNotOwner)
			other.revokes("room/disk", from)
			s.keeps("room/disk", "ann", stores.ErrNotHeld)
			s.gathers("room/", free("room/disk"))
		}
		b.greater(s.admits("room/disk", "bob").Token, last)
	},
}, {
	name:  "whose lock was withdrawn does not renew it",
	rule:  "After Withdraw the former owner's Renew fails with ErrNotHeld, or with ErrNotOwner once another holds the lock.",
	needs: []string{renewing},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.admits("room/disk", "ann")
		other.withdraws("room/disk")
		s.lapses("room/disk", "ann", stores.ErrNotHeld)
		s.declares("room/disk")
		s.lapses("room/disk", "ann", stores.ErrNotHeld)
		other.admits("room/disk", "bob")
		s.lapses("room/disk", "ann", stores.ErrNotOwner)
	},
}, {
	name:  "whose lock was withdrawn has nothing to be revoked",
	rule:  "After Withdraw nobody holds the lock: Revoke fails with ErrNotHeld.",
	needs: []string{revoking},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.admits("room/disk", "ann")
		other.withdraws("room/disk")
		s.spares("room/disk", "ann", stores.ErrNotHeld)
		s.spares("room/disk", "", stores.ErrNotHeld)
	},
}}
