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
		s.declares("room/disk")
		s.gathers("room/", declared(held("room/disk", "ann", other.knocks("room/disk", "ann").gets())))
		s.frees("room/disk", "ann")
	},
}, {
	name: "who would wait for a lock that does not exist is told so",
	rule: "A request with a group fails with ErrNotDeclared at once if the group has no such lock, held or not.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.knocks("room/disk", "ann").fails(stores.ErrNotDeclared)
		s.grants("room/disk", "bob")
		other.knocks("room/disk", "ann").fails(stores.ErrNotDeclared)
		s.declares("room/disk")
		s.withdraws("room/disk")
		s.grants("room/disk", "bob")
		other.knocks("room/disk", "ann").fails(stores.ErrNotDeclared)
		b.counts(s, "room/disk", 0)
	},
}, {
	name: "who waits for a declared lock gets it when it is given back",
	rule: "A waiter is woken by a push when the lock is given back, and holds it then, with a larger token.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		last := s.admits("room/disk", "ann").Token
		bob := other.joins("room/disk", "bob")
		l := declared(held("room/disk", "ann", stores.Grant{Token: last}))
		l.Waiters = 1
		s.gathers("room/", l)
		s.frees("room/disk", "ann")
		g := bob.gets()
		b.greater(g.Token, last)
		s.gathers("room/", declared(held("room/disk", "bob", g)))
		s.frees("room/disk", "bob")
	},
}, {
	name: "who waits for a declared lock gets it when it expires",
	rule: "A waiter is woken by a push when the lock expires: not before, and soon after.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declaresFor("room/disk", b.ample())
		sent := time.Now()
		s.admits("room/disk", "ann")
		latest := time.Now().Add(b.ample())
		b.wakes(other.joins("room/disk", "bob"), sent.Add(b.ample()), latest)
	},
}, {
	name:  "who waits for a declared lock gets it when it is revoked",
	rule:  "After Revoke the next who waits gets the lock.",
	needs: []string{revoking},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.admits("room/disk", "ann")
		bob := other.joins("room/disk", "bob")
		s.revokes("room/disk", "ann")
		bob.gets()
		s.keeps("room/disk", "ann", stores.ErrNotOwner)
	},
}, {
	name: "a declared lock that was waited for lasts as long as it was declared to",
	rule: "The lease of who has waited begins with the grant, and Expires tells no later end.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declaresFor("room/disk", b.brief())
		s.grants("room/disk", "ann")
		bob := other.joins("room/disk", "bob")
		time.Sleep(2 * b.brief())
		freed := time.Now()
		s.frees("room/disk", "ann")
		g := bob.gets()
		b.want(g.TTL == b.brief(), "the TTL is %v, want %v", g.TTL, b.brief())
		b.counted(g, freed, b.brief())
		b.want(g.Expires.After(freed), "Expires is before the grant")
		s.ends("room/disk", freed.Add(b.brief()), time.Now().Add(b.brief()+b.Slack))
	},
}}

// memberLineRows are about the line of those who wait for a declared lock.
var memberLineRows = []row{{
	name: "who waits with the group and without is served in the order of arrival",
	rule: "Those who wait for a key are served first come, first served, whether or not they name the group.",
	check: func(b *bench) {
		const waiters = 8
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.admits("room/disk", "owner")
		var line []*waiter
		for i := range waiters {
			wait := pick(i/2, store.joins, store.waits)
			line = append(line, wait(pick(i/3, s, other), "room/disk", nth("owner", (i*5)%waiters))) // in no order of names
		}
		s.bars("room/disk", "pushy")
		s.frees("room/disk", "owner")
		for i, w := range line {
			w.gets()
			for _, later := range line[i+1:] {
				later.stays()
			}
			other.frees("room/disk", nth("owner", (i*5)%waiters))
		}
	},
}, {
	name: "a lock that somebody waits for is declared",
	rule: "Declare lets the lock exist, and changes nothing for who holds it and who waits for it.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("room/disk", "ann")
		bob := other.waits("room/disk", "bob")
		s.declares("room/disk")
		carl := other.joins("room/disk", "carl")
		bob.stays()
		s.frees("room/disk", "ann")
		bob.gets()
		carl.stays()
		s.frees("room/disk", "bob")
		carl.gets()
	},
}, {
	name: "who has a declared lock does not wait for it",
	rule: repeatedRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		for _, take := range []func(){
			func() { s.admits("room/disk", "ann") },
			func() { s.grants("room/disk", "ann") },
		} {
			take()
			other.knocks("room/disk", "ann").fails(stores.ErrRepeated)
			b.counts(s, "room/disk", 0)
			s.frees("room/disk", "ann")
		}
	},
}, {
	name: "who waits for a declared lock does not ask for it again",
	rule: repeatedRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.admits("room/disk", "ann")
		for i, wait := range []func(store, string, string) *waiter{store.joins, store.waits} {
			bob := wait(other, "room/disk", "bob")
			for _, again := range []store{s, other} {
				again.knocks("room/disk", "bob").fails(stores.ErrRepeated)
				again.rejects("room/disk", "bob", stores.ErrRepeated)
			}
			b.counts(s, "room/disk", 1)
			bob.stays()
			s.frees("room/disk", pick(i, "ann", "carl"))
			bob.gets()
			s.frees("room/disk", "bob")
			s.admits("room/disk", "carl")
		}
	},
}, {
	name: "who has left the line for a declared lock may ask again",
	rule: "Who gives up by the end of ctx, or through a client that is closed, waits no more: it gets nothing, and may come again.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.admits("room/disk", "ann")
		other.joins("room/disk", "bob").leaves()
		closing := other.joins("room/disk", "bob")
		b.want(other.Close() == nil, "Close failed")
		closing.fails(stores.ErrClosed)
		b.within(b.Settle, func() bool { return s.queue("") == 0 })
		s.bars("room/disk", "bob")
		s.keeps("room/disk", "bob", stores.ErrNotOwner)
		bob := s.joins("room/disk", "bob")
		s.frees("room/disk", "ann")
		bob.gets()
		s.frees("room/disk", "bob")
		s.gathers("room/", free("room/disk"))
	},
}, {
	name: "a Lock of a declared lock whose ctx has ended takes nothing",
	rule: "A request that was given up before it was made has no effect.",
	check: func(b *bench) {
		s := b.open()
		s.declares("room/disk")
		_, _ = stores.Lock(ended(), s.Store, b.member("room/disk", "ann"))
		s.gathers("room/", free("room/disk"))
	},
}, {
	name: "waiting in a circle for declared locks is a deadlock",
	rule: "Lock fails with ErrDeadlock if the lock is held by an owner that waits for one in the request's Holding, group or not.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk", "room/gate")
		s.admits("room/disk", "ann")
		s.admits("room/gate", "bob")
		first, second := b.member("room/gate", "ann2"), b.member("room/disk", "bob2")
		first.Holding, second.Holding = []string{"ann"}, []string{"bob"}
		ann := s.waitsFor(first)
		other.asksFor(second).fails(stores.ErrDeadlock)
		ann.stays()
		b.counts(s, "room/disk", 0)
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
		s.declares("room/disk")
		l := declared(held("room/disk", "ann", s.admits("room/disk", "ann")))
		for _, through := range []store{s, other} {
			bob := other.joins("room/disk", "bob")
			through.frees("room/disk", "bob")
			bob.fails(stores.ErrGaveUp)
			through.keeps("room/disk", "bob", stores.ErrNotOwner)
			s.gathers("room/", l)
		}
		s.frees("room/disk", "ann")
		s.gathers("room/", free("room/disk"))
		s.keeps("room/disk", "bob", stores.ErrNotHeld)
		s.admits("room/disk", "bob")
	},
}, {
	name: "who gives up by Unlock lets the others through",
	rule: "Who gives up waiting leaves nothing in the way of those behind, nor changes their order.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.admits("room/disk", "owner")
		var line []*waiter
		for i := range 4 {
			line = append(line, pick(i, s, other).joins("room/disk", nth("owner", i)))
		}
		for _, i := range []int{2, 0} {
			s.frees("room/disk", nth("owner", i))
			line[i].fails(stores.ErrGaveUp)
		}
		s.frees("room/disk", "owner")
		line[1].gets()
		line[3].stays()
		s.frees("room/disk", nth("owner", 1))
		line[3].gets()
	},
}, {
	name: "an Unlock does not end a wait without the group",
	rule: "Unlock of who waits by a request without a group fails with ErrNotOwner and changes nothing.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.admits("room/disk", "ann")
		bob := other.waits("room/disk", "bob")
		s.keeps("room/disk", "bob", stores.ErrNotOwner)
		bob.stays()
		s.frees("room/disk", "ann")
		bob.gets()
		s.frees("room/disk", "bob")
	},
}, {
	name:  "an Unlock ends the wait for a lock that nobody holds",
	rule:  "If the owner waits for the lock by a request with a group, Unlock ends that instead, held or not, and returns nil.",
	needs: []string{multi},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.grants("gate", "ann")
		all := s.waitsAll("bob", "gate", "room/disk")
		carl := other.joins("room/disk", "carl")
		dora := s.joins("room/disk", "dora")
		other.frees("room/disk", "carl")
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
		s.declares("room/disk")
		s.admits("room/disk", "ann")
		bob, carl := s.joins("room/disk", "bob"), other.joins("room/disk", "carl")
		s.withdraws("room/disk")
		bob.fails(stores.ErrNotDeclared)
		carl.fails(stores.ErrNotDeclared)
		for _, owner := range []string{"ann", "bob", "carl"} {
			s.keeps("room/disk", owner, stores.ErrNotHeld)
		}
		other.lists("room/")
		other.grants("room/disk", "dora")
	},
}, {
	name: "a lock that is declared again fails those who waited for the old one",
	rule: "Requests with the group that wait for a lock that is withdrawn fail, although it may be declared again at once.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.admits("room/disk", "ann")
		bob, carl := s.joins("room/disk", "bob"), other.joins("room/disk", "carl")
		s.withdraws("room/disk")
		s.declares("room/disk")
		bob.fails(stores.ErrNotDeclared)
		carl.fails(stores.ErrNotDeclared)
		s.gathers("room/", free("room/disk"))
		s.admits("room/disk", "bob")
		carl = other.joins("room/disk", "carl")
		s.frees("room/disk", "bob")
		carl.gets()
	},
}, {
	name: "a lock that is withdrawn goes to who waits without the group",
	rule: "Only requests with the group fail; to the others the lock is one like any other, and it goes to the first of them.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		last := s.admits("room/disk", "ann").Token
		bob, carl := other.joins("room/disk", "bob"), s.waits("room/disk", "carl")
		dora, erik := other.waits("room/disk", "dora"), s.joins("room/disk", "erik")
		other.withdraws("room/disk")
		bob.fails(stores.ErrNotDeclared)
		erik.fails(stores.ErrNotDeclared)
		g := carl.gets()
		last = b.greater(g.Token, last)
		dora.stays()
		l := held("room/disk", "carl", g)
		l.Waiters = 1
		b.tells(s.list("room/"), []stores.LockInfo{l})
		s.gathered("room/", 0)
		s.frees("room/disk", "carl")
		b.greater(dora.gets().Token, last)
	},
}, {
	name:  "who waits for several locks gets them when one is withdrawn",
	rule:  "Withdraw ends the hold of the lock, and who waits for it without the group is served.",
	needs: []string{multi},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.admits("room/disk", "ann")
		bob := other.waitsAll("bob", "gate", "room/disk")
		s.withdraws("room/disk")
		bob.gets()
		s.lists("", "gate", "room/disk")
	},
}, {
	name:  "a free lock that is withdrawn fails those who wait for it",
	rule:  "Requests with the group that wait for the lock fail with ErrNotDeclared, also if nobody holds it.",
	needs: []string{multi},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.grants("gate", "ann")
		all := s.waitsAll("bob", "gate", "room/disk")
		carl := other.joins("room/disk", "carl")
		s.withdraws("room/disk")
		carl.fails(stores.ErrNotDeclared)
		all.stays()
		s.frees("gate", "ann")
		all.gets()
	},
}}
