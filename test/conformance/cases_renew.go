package conformance

import (
	"errors"
	"slices"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// renewRows are about stores that implement stores.Renewer.
func renewRows() []row { return withNeeds(slices.Concat(renewalRows, noRenewalRows), needRenew) }

// renewalRows are about renewals that the store grants.
var renewalRows = []row{{
	name: "a renewal makes a lock last longer",
	rule: "Renew lets the lock last for the TTL from now, if that is longer than what is left.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.briefTTL())
		s.mustRenew("disk", "ann", lease)
		f.waitExpired(f.briefTTL())
		s.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "a renewal makes a lock end sooner",
	rule: "Renew lets the lock last for the TTL from now, if that is shorter than what is left.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustRenew("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.mustLock("disk", "bob")
	},
}, {
	name: "a renewal counts from now",
	rule: "Renew lets the lock last for the TTL from now, not from the grant and not from the old end.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		time.Sleep(f.briefTTL())
		sent := time.Now()
		s.mustRenew("disk", "ann", f.briefTTL())
		s.mustExpireBetween("disk", sent.Add(f.briefTTL()), time.Now().Add(f.briefTTL()+f.Slack))
	},
}, {
	name: "a lock is renewed again and again",
	rule: "Renew may be repeated; each time the whole TTL lies ahead.",
	check: func(f *fixture) {
		s := f.open()
		ttl := 2 * f.briefTTL()
		s.mustLockFor("disk", "ann", ttl)
		for range 4 {
			time.Sleep(ttl / 4)
			s.mustRenew("disk", "ann", ttl)
		}
		s.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "a renewal keeps the token",
	rule: "The grant of a renewal carries the token that the lock has, and the next grant a greater one.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		token := s.mustLock("disk", "ann").Token
		for range 2 {
			renewed := other.mustRenew("disk", "ann", lease).Token
			f.want(renewed == token, "token %d became %d", token, renewed)
		}
		s.mustUnlock("disk", "ann")
		f.wantGreater(s.mustLock("disk", "ann").Token, token)
	},
}, {
	name: "a renewal tells its TTL",
	rule: "The grant of a renewal carries how long the lock lasts from now, as asked for.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		g := s.mustRenew("disk", "ann", 2*lease)
		f.want(g.TTL == 2*lease, "the TTL is %v, want %v", g.TTL, 2*lease)
	},
}, {
	name: "the holder stops before the next one starts after a renewal",
	rule: "Expires of a renewal is counted like that of a grant: never later than the moment the store lets another in.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		sent := time.Now()
		g := s.mustRenew("disk", "ann", f.briefTTL())
		f.wantDeadlineFromSend(g, sent, f.briefTTL())
		s.mustExpireBetween("disk", g.Expires, time.Now().Add(f.briefTTL()+f.Slack))
	},
}, {
	name:      "the deadline of a renewal is on the monotonic clock",
	rule:      "Expires carries a monotonic reading, so that setting the wall clock does not make a holder overstay.",
	realClock: true,
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		f.wantMonotonic(s.mustRenew("disk", "ann", lease))
	},
}}

// noRenewalRows are about renewals that it must not grant.
var noRenewalRows = []row{{
	name: "only the holder renews",
	rule: "Renew fails with ErrNotOwner if somebody else holds the lock, and changes neither its owner nor its end.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.briefTTL())
		s.renewFails("disk", "bob", stores.ErrNotOwner)
		s.unlockFails("disk", "bob", stores.ErrNotOwner)
		f.waitExpired(f.briefTTL())
		s.mustLock("disk", "carl")
	},
}, {
	name: "a free lock is not renewed",
	rule: "Renew fails with ErrNotHeld if nobody holds the lock, and does not take it.",
	check: func(f *fixture) {
		s := f.open()
		s.renewFails("disk", "ann", stores.ErrNotHeld)
		s.mustLock("disk", "ann")
		s.mustUnlock("disk", "ann")
		s.renewFails("disk", "ann", stores.ErrNotHeld)
		s.mustLock("disk", "bob")
	},
}, {
	name: "an expired lock is not renewed",
	rule: "A lock that is gone is not taken again: Renew of an expired lock fails with ErrNotHeld.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.renewFails("disk", "ann", stores.ErrNotHeld)
		s.mustLock("disk", "bob")
		s.renewFails("disk", "ann", stores.ErrNotOwner)
	},
}, {
	name: "a renewal whose ctx has ended changes nothing",
	rule: "A request that was given up before it was made has no effect.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.briefTTL())
		_, _ = stores.Renew(canceledContext(), s.Store, stores.Request{Key: f.key("disk"), Owner: "ann", TTL: lease})
		f.waitExpired(f.briefTTL())
		s.mustLock("disk", "bob")
	},
}, {
	name: "a renewal that meets an unlock does not bring the lock back",
	rule: "Renew and Unlock of one lock at once have an order: after both, the lock is free.",
	check: func(f *fixture) {
		for i := range 10 {
			renewDuringUnlock(f, nth("disk", i))
		}
	},
}}

func renewDuringUnlock(f *fixture, name string) {
	s, other := f.open(), f.open()
	s.mustLock(name, "ann")
	concurrently(2, func(i int) bool {
		if i == 0 {
			s.mustUnlock(name, "ann")
			return true
		}
		_, err := other.renew(name, "ann", lease)
		f.want(err == nil || errors.Is(err, stores.ErrNotHeld), "Renew beside an Unlock returned %v", err)
		return err == nil
	})
	s.mustLock(name, "bob")
}
