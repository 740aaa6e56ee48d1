package conformance

import (
	"context"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// memberWaitRows are about what comes of waiting for a declared lock.
var memberWaitRows = []row{{
	name: "who would wait gets a free declared lock at once",
	rule: "Lock takes a declared lock, and does not wait if nobody holds it.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.gathers("room/", declared(held("room/door", "ann", other.knocks("room/door", "ann").gets())))
		s.frees("room/door", "ann")
	},
}, {
	name: "who would wait for a lock that does not exist is told so",
	rule: "A request with a group fails with ErrNotDeclared at once if the group has no such lock, held or not.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.knocks("room/door", "ann").fails(stores.ErrNotDeclared)
		s.grants("room/door", "bob")
		other.knocks("room/door", "ann").fails(stores.ErrNotDeclared)
		s.declares("room/door")
		s.withdraws("room/door")
		s.grants("room/door", "bob")
		other.knocks("room/door", "ann").fails(stores.ErrNotDeclared)
		b.counts(s, "room/door", 0)
	},
}, {
	name: "who waits for a declared lock gets it when it is given back",
	rule: "A waiter is woken by a push when the lock is given back, and holds it then, with a larger token.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		last := s.admits("room/door", "ann").Token
		bob := other.joins("room/door", "bob")
		l := declared(held("room/door", "ann", stores.Grant{Token: last}))
		l.Waiters = 1
		s.gathers("room/", l)
		s.frees("room/door", "ann")
		g := bob.gets()
		b.greater(g.Token, last)
		s.gathers("room/", declared(held("room/door", "bob", g)))
		s.frees("room/door", "bob")
	},
}, {
	name: "who waits for a declared lock gets it when it expires",
	rule: "A waiter is woken by a push when the lock expires: not before, and soon after.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declaresFor("room/door", b.ample())
		sent := time.Now()
		s.admits("room/door", "ann")
		latest := time.Now().Add(b.ample())
		b.wakes(other.joins("room/door", "bob"), sent.Add(b.ample()), latest)
	},
}, {
	name:  "who waits for a declared lock gets it when it is revoked",
	rule:  "After Revoke the next who waits gets the lock.",
	needs: []string{revoking},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.admits("room/door", "ann")
		bob := other.joins("room/door", "bob")
		s.revokes("room/door", "ann")
		bob.gets()
		s.keeps("room/door", "ann", stores.ErrNotOwner)
	},
}, {
	name: "a declared lock that was waited for lasts as long as it was declared to",
	rule: "The lease of who has waited begins with the grant, and Expires tells no later end.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declaresFor("room/door", b.brief())
		s.grants("room/door", "ann")
		bob := other.joins("room/door", "bob")
		time.Sleep(2 * b.brief())
		freed := time.Now()
		s.frees("room/door", "ann")
		g := bob.gets()
		b.want(g.TTL == b.brief(), "the TTL is %v, want %v", g.TTL, b.brief())
		b.counted(g, freed, b.brief())
		b.want(g.Expires.After(freed), "Expires is before the grant")
		s.ends("room/door", freed.Add(b.brief()), time.Now().Add(b.brief()+b.Slack))
	},
}}

// memberLineRows are about the line of those who wait for a declared lock.
var memberLineRows = []row{{
	name: "who waits with the group and without is served in the order of arrival",
	rule: "Those who wait for a key are served first come, first served, whether or not they name the group.",
	check: func(b *bench) {
		const waiters = 8
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.admits("room/door", "owner")
		var line []*waiter
		for i := range waiters {
			wait := pick(i/2, store.joins, store.waits)
			line = append(line, wait(pick(i/3, s, other), "room/door", nth("owner", (i*5)%waiters))) // in no order of names
		}
		s.bars("room/door", "pushy")
		s.frees("room/door", "owner")
		for i, w := range line {
			w.gets()
			for _, later := range line[i+1:] {
				later.stays()
			}
			other.frees("room/door", nth("owner", (i*5)%waiters))
		}
	},
}, {
	name: "a lock that somebody waits for is declared",
	rule: "Declare lets the lock exist, and changes nothing for who holds it and who waits for it.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("room/door", "ann")
		bob := other.waits("room/door", "bob")
		s.declares("room/door")
		carl := other.joins("room/door", "carl")
		bob.stays()
		s.frees("room/door", "ann")
		bob.gets()
		carl.stays()
		s.frees("room/door", "bob")
		carl.gets()
	},
}, {
	name: "who has a declared lock does not wait for it",
	rule: repeatedRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		for _, take := range []func(){
			func() { s.admits("room/door", "ann") },
			func() { s.grants("room/door", "ann") },
		} {
			take()
			other.knocks("room/door", "ann").fails(stores.ErrRepeated)
			b.counts(s, "room/door", 0)
			s.frees("room/door", "ann")
		}
	},
}, {
	name: "who waits for a declared lock does not ask for it again",
	rule: repeatedRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.admits("room/door", "ann")
		for i, wait := range []func(store, string, string) *waiter{store.joins, store.waits} {
			bob := wait(other, "room/door", "bob")
			for _, again := range []store{s, other} {
				again.knocks("room/door", "bob").fails(stores.ErrRepeated)
				again.rejects("room/door", "bob", stores.ErrRepeated)
			}
			b.counts(s, "room/door", 1)
			bob.stays()
			s.frees("room/door", pick(i, "ann", "carl"))
			bob.gets()
			s.frees("room/door", "bob")
			s.admits("room/door", "carl")
		}
	},
}, {
	name: "who has left the line for a declared lock may ask again",
	rule: "Who gives up by the end of ctx, or through a client that is closed, waits no more: it gets nothing, and may come again.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.admits("room/door", "ann")
		other.joins("room/door", "bob").leaves()
		closing := other.joins("room/door", "bob")
		b.want(other.Close() == nil, "Close failed")
		closing.fails(stores.ErrClosed)
		b.within(b.Settle, func() bool { return s.queue("") == 0 })
		s.bars("room/door", "bob")
		s.keeps("room/door", "bob", stores.ErrNotOwner)
		bob := s.joins("room/door", "bob")
		s.frees("room/door", "ann")
		bob.gets()
		s.frees("room/door", "bob")
		s.gathers("room/", free("room/door"))
	},
}, {
	name: "a Lock of a declared lock whose ctx has ended takes nothing",
	rule: "A request that was given up before it was made has no effect.",
	check: func(b *bench) {
		s := b.open()
		s.declares("room/door")
		_, _ = stores.Lock(ended(), s.Store, b.member("room/door", "ann"))
		s.gathers("room/", free("room/door"))
	},
}, {
	name: "waiting in a circle for declared locks is a deadlock",
	rule: "Lock fails with ErrDeadlock if the lock is held by an owner that waits for one in the request's Holding, group or not.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door", "room/gate")
		s.admits("room/door", "ann")
		s.admits("room/gate", "bob")
		first, second := b.member("room/gate", "ann2"), b.member("room/door", "bob2")
		first.Holding, second.Holding = []string{"ann"}, []string{"bob"}
		ann := s.waitsFor(first)
		other.asksFor(second).fails(stores.ErrDeadlock)
		ann.stays()
		b.counts(s, "room/door", 0)
		other.frees("room/gate", "bob")
		ann.gets()
	},
}}

// gaveUpRows are about those who give up waiting by Unlock.
var gaveUpRows = []row{{
	name: "an Unlock ends the wait of its owner",
	rule: "If the owner waits for the lock by a request with a group, Unlock ends that, with ErrGaveUp, and returns nil.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		l := declared(held("room/door", "ann", s.admits("room/door", "ann")))
		for _, through := range []store{s, other} {
			bob := other.joins("room/door", "bob")
			through.frees("room/door", "bob")
			bob.fails(stores.ErrGaveUp)
			through.keeps("room/door", "bob", stores.ErrNotOwner)
			s.gathers("room/", l)
		}
		s.frees("room/door", "ann")
		s.gathers("room/", free("room/door"))
		s.keeps("room/door", "bob", stores.ErrNotHeld)
		s.admits("room/door", "bob")
	},
}, {
	name: "who gives up by Unlock lets the others through",
	rule: "Who gives up waiting leaves nothing in the way of those behind, nor changes their order.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.admits("room/door", "owner")
		var line []*waiter
		for i := range 4 {
			line = append(line, pick(i, s, other).joins("room/door", nth("owner", i)))
		}
		for _, i := range []int{2, 0} {
			s.frees("room/door", nth("owner", i))
			line[i].fails(stores.ErrGaveUp)
		}
		s.frees("room/door", "owner")
		line[1].gets()
		line[3].stays()
		s.frees("room/door", nth("owner", 1))
		line[3].gets()
	},
}, {
	name: "an Unlock does not end a wait without the group",
	rule: "Unlock of who waits by a request without a group fails with ErrNotOwner and changes nothing.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.admits("room/door", "ann")
		bob := other.waits("room/door", "bob")
		s.keeps("room/door", "bob", stores.ErrNotOwner)
		bob.stays()
		s.frees("room/door", "ann")
		bob.gets()
		s.frees("room/door", "bob")
	},
}, {
	name:  "an Unlock ends the wait for a lock that nobody holds",
	rule:  "If the owner waits for the lock by a request with a group, Unlock ends that instead, held or not, and returns nil.",
	needs: []string{multi},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.grants("gate", "ann")
		all := s.waitsAll("bob", "gate", "room/door")
		carl := other.joins("room/door", "carl")
		dora := s.joins("room/door", "dora")
		other.frees("room/door", "carl")
		carl.fails(stores.ErrGaveUp)
		all.stop()
		all.fails(context.Canceled)
		dora.gets()
	},
}}

// withdrawnWaitRows are about those who wait for a lock that is withdrawn.
var withdrawnWaitRows = []row{{
	name: "a lock that is withdrawn fails those who wait for it",
	rule: "Requests with the group that wait for the lock fail with ErrNotDeclared.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.admits("room/door", "ann")
		bob, carl := s.joins("room/door", "bob"), other.joins("room/door", "carl")
		s.withdraws("room/door")
		bob.fails(stores.ErrNotDeclared)
		carl.fails(stores.ErrNotDeclared)
		for _, owner := range []string{"ann", "bob", "carl"} {
			s.keeps("room/door", owner, stores.ErrNotHeld)
		}
		other.lists("room/")
		other.grants("room/door", "dora")
	},
}, {
	name: "a lock that is declared again fails those who waited for the old one",
	rule: "Requests with the group that wait for a lock that is withdrawn fail, although it may be declared again at once.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.admits("room/door", "ann")
		bob, carl := s.joins("room/door", "bob"), other.joins("room/door", "carl")
		s.withdraws("room/door")
		s.declares("room/door")
		bob.fails(stores.ErrNotDeclared)
		carl.fails(stores.ErrNotDeclared)
		s.gathers("room/", free("room/door"))
		s.admits("room/door", "bob")
		carl = other.joins("room/door", "carl")
		s.frees("room/door", "bob")
		carl.gets()
	},
}, {
	name: "a lock that is withdrawn goes to who waits without the group",
	rule: "Only requests with the group fail; to the others the lock is one like any other, and it goes to the first of them.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		last := s.admits("room/door", "ann").Token
		bob, carl := other.joins("room/door", "bob"), s.waits("room/door", "carl")
		dora, erik := other.waits("room/door", "dora"), s.joins("room/door", "erik")
		other.withdraws("room/door")
		bob.fails(stores.ErrNotDeclared)
		erik.fails(stores.ErrNotDeclared)
		g := carl.gets()
		last = b.greater(g.Token, last)
		dora.stays()
		l := held("room/door", "carl", g)
		l.Waiters = 1
		b.tells(s.list("room/"), []stores.LockInfo{l})
		s.gathered("room/", 0)
		s.frees("room/door", "carl")
		b.greater(dora.gets().Token, last)
	},
}, {
	name:  "who waits for several locks gets them when one is withdrawn",
	rule:  "Withdraw ends the hold of the lock, and who waits for it without the group is served.",
	needs: []string{multi},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.admits("room/door", "ann")
		bob := other.waitsAll("bob", "gate", "room/door")
		s.withdraws("room/door")
		bob.gets()
		s.lists("", "gate", "room/door")
	},
}, {
	name:  "a free lock that is withdrawn fails those who wait for it",
	rule:  "Requests with the group that wait for the lock fail with ErrNotDeclared, also if nobody holds it.",
	needs: []string{multi},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/door")
		s.grants("gate", "ann")
		all := s.waitsAll("bob", "gate", "room/door")
		carl := other.joins("room/door", "carl")
		s.withdraws("room/door")
		carl.fails(stores.ErrNotDeclared)
		all.stays()
		s.frees("gate", "ann")
		all.gets()
	},
}}
