package conformance

import (
	"errors"
	"slices"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// renewRows are about stores that implement stores.Renewer.
func renewRows() []row { return needing(slices.Concat(renewalRows, noRenewalRows), renewing) }

// renewalRows are about renewals that the store grants.
var renewalRows = []row{{
	name: "a renewal makes a lock last longer",
	rule: "Renew lets the lock last for the TTL from now, if that is longer than what is left.",
	check: func(b *bench) {
		s := b.open()
		s.grantsFor("disk", "ann", b.brief())
		s.renews("disk", "ann", lease)
		b.expire(b.brief())
		s.refuses("disk", "bob")
		s.frees("disk", "ann")
	},
}, {
	name: "a renewal makes a lock end sooner",
	rule: "Renew lets the lock last for the TTL from now, if that is shorter than what is left.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.renews("disk", "ann", b.short())
		b.expire(b.short())
		s.grants("disk", "bob")
	},
}, {
	name: "a renewal counts from now",
	rule: "Renew lets the lock last for the TTL from now, not from the grant and not from the old end.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		time.Sleep(b.brief())
		sent := time.Now()
		s.renews("disk", "ann", b.brief())
		s.ends("disk", sent.Add(b.brief()), time.Now().Add(b.brief()+b.Slack))
	},
}, {
	name: "a lock is renewed again and again",
	rule: "Renew may be repeated; each time the whole TTL lies ahead.",
	check: func(b *bench) {
		s := b.open()
		ttl := 2 * b.brief()
		s.grantsFor("disk", "ann", ttl)
		for range 4 {
			time.Sleep(ttl / 4)
			s.renews("disk", "ann", ttl)
		}
		s.refuses("disk", "bob")
		s.frees("disk", "ann")
	},
}, {
	name: "a renewal keeps the token",
	rule: "The grant of a renewal carries the token that the lock has, and the next grant a greater one.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		token := s.grants("disk", "ann").Token
		for range 2 {
			renewed := other.renews("disk", "ann", lease).Token
			b.want(renewed == token, "token %d became %d", token, renewed)
		}
		s.frees("disk", "ann")
		b.greater(s.grants("disk", "ann").Token, token)
	},
}, {
	name: "a renewal tells its TTL",
	rule: "The grant of a renewal carries how long the lock lasts from now, as asked for.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		g := s.renews("disk", "ann", 2*lease)
		b.want(g.TTL == 2*lease, "the TTL is %v, want %v", g.TTL, 2*lease)
	},
}, {
	name: "the holder stops before the next one starts after a renewal",
	rule: "Expires of a renewal is counted like that of a grant: never later than the moment the store lets another in.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		sent := time.Now()
		g := s.renews("disk", "ann", b.brief())
		b.counted(g, sent, b.brief())
		s.ends("disk", g.Expires, time.Now().Add(b.brief()+b.Slack))
	},
}, {
	name:  "the deadline of a renewal is on the monotonic clock",
	rule:  "Expires carries a monotonic reading, so that setting the wall clock does not make a holder overstay.",
	awake: true,
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		b.monotonic(s.renews("disk", "ann", lease))
	},
}}

// noRenewalRows are about renewals that it must not grant.
var noRenewalRows = []row{{
	name: "only the holder renews",
	rule: "Renew fails with ErrNotOwner if somebody else holds the lock, and changes neither its owner nor its end.",
	check: func(b *bench) {
		s := b.open()
		s.grantsFor("disk", "ann", b.brief())
		s.lapses("disk", "bob", stores.ErrNotOwner)
		s.keeps("disk", "bob", stores.ErrNotOwner)
		b.expire(b.brief())
		s.grants("disk", "carl")
	},
}, {
	name: "a free lock is not renewed",
	rule: "Renew fails with ErrNotHeld if nobody holds the lock, and does not take it.",
	check: func(b *bench) {
		s := b.open()
		s.lapses("disk", "ann", stores.ErrNotHeld)
		s.grants("disk", "ann")
		s.frees("disk", "ann")
		s.lapses("disk", "ann", stores.ErrNotHeld)
		s.grants("disk", "bob")
	},
}, {
	name: "an expired lock is not renewed",
	rule: "A lock that is gone is not taken again: Renew of an expired lock fails with ErrNotHeld.",
	check: func(b *bench) {
		s := b.open()
		s.grantsFor("disk", "ann", b.short())
		b.expire(b.short())
		s.lapses("disk", "ann", stores.ErrNotHeld)
		s.grants("disk", "bob")
		s.lapses("disk", "ann", stores.ErrNotOwner)
	},
}, {
	name: "a renewal whose ctx has ended changes nothing",
	rule: "A request that was given up before it was made has no effect.",
	check: func(b *bench) {
		s := b.open()
		s.grantsFor("disk", "ann", b.brief())
		_, _ = stores.Renew(ended(), s.Store, stores.Request{Key: b.key("disk"), Owner: "ann", TTL: lease})
		b.expire(b.brief())
		s.grants("disk", "bob")
	},
}, {
	name: "a renewal that meets an unlock does not bring the lock back",
	rule: "Renew and Unlock of one lock at once have an order: after both, the lock is free.",
	check: func(b *bench) {
		for i := range 10 {
			renewDuringUnlock(b, nth("disk", i))
		}
	},
}}

func renewDuringUnlock(b *bench, name string) {
	s, other := b.open(), b.open()
	s.grants(name, "ann")
	together(2, func(i int) bool {
		if i == 0 {
			s.frees(name, "ann")
			return true
		}
		_, err := other.renew(name, "ann", lease)
		b.want(err == nil || errors.Is(err, stores.ErrNotHeld), "Renew beside an Unlock returned %v", err)
		return err == nil
	})
	s.grants(name, "bob")
}
