package conformance

import (
	"errors"
	"slices"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// renewRows test stores that implement stores.Renewer.
func renewRows() []row { return withNeeds(slices.Concat(renewalRows, noRenewalRows), needRenew) }

// renewalRows test renewals that succeed.
var renewalRows = []row{{
	name: "a renewal extends a lock",
	rule: "Renew makes the lock last for the TTL from now, if that is longer than the remaining time.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.briefTTL())
		s.mustRenew("disk", "ann", lease)
		f.waitExpired(f.briefTTL())
		s.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "a renewal shortens a lock",
	rule: "Renew makes the lock last for the TTL from now, if that is shorter than the remaining time.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustRenew("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.mustLock("disk", "bob")
	},
}, {
	name: "a renewal counts from now",
	rule: "Renew makes the lock last for the TTL from now, not from the grant and not from the old expiry.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		f.sleep(f.briefTTL())
		sent := time.Now()
		s.mustRenew("disk", "ann", f.briefTTL())
		s.mustExpireBetween("disk", sent.Add(f.briefTTL()), time.Now().Add(f.briefTTL()+f.Slack))
	},
}, {
	name: "a lock is renewed repeatedly",
	rule: "Renew can be repeated; each time the lock lasts for the whole TTL.",
	check: func(f *fixture) {
		s := f.open()
		ttl := 2 * f.briefTTL()
		s.mustLockFor("disk", "ann", ttl)
		for range 4 {
			// Unlike f.sleep, this expects the lease to last.
			time.Sleep(ttl / 4)
			s.mustRenew("disk", "ann", ttl)
		}
		s.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "a renewal keeps the token",
	rule: "The grant of a renewal has the token of the lock, and the next grant a greater one.",
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
	name: "a renewal reports its TTL",
	rule: "The grant of a renewal has the requested TTL, which counts from now.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		g := s.mustRenew("disk", "ann", 2*lease)
		f.want(g.TTL == 2*lease, "the TTL is %v, want %v", g.TTL, 2*lease)
	},
}, {
	name: "the holder stops before the next owner starts after a renewal",
	rule: "Expires of a renewal is never later than the time at which the store grants the lock to another owner.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		sent := time.Now()
		g := s.mustRenew("disk", "ann", f.briefTTL())
		f.wantDeadlineFromSend(g, sent, f.briefTTL())
		s.mustExpireBetween("disk", g.Expires, time.Now().Add(f.briefTTL()+f.Slack))
	},
}, {
	name:      "the deadline of a renewal has a monotonic reading",
	rule:      "Expires has a monotonic reading, so that a holder stops in time even if the wall clock is set.",
	realClock: true,
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		f.wantMonotonic(s.mustRenew("disk", "ann", lease))
	},
}}

// noRenewalRows test renewals that fail.
var noRenewalRows = []row{{
	name: "only the holder renews",
	rule: "Renew fails with ErrNotOwner if another owner holds the lock, and changes neither its owner nor its expiry.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.briefTTL())
		s.renewFails("disk", "bob", stores.ErrNotOwner)
		s.unlockFails("disk", "bob", stores.ErrNotOwner)
		f.waitExpired(f.briefTTL())
		s.mustLock("disk", "carl")
	},
}, {
	name: "a free lock cannot be renewed",
	rule: "Renew fails with ErrNotHeld if the lock is free, and does not acquire it.",
	check: func(f *fixture) {
		s := f.open()
		s.renewFails("disk", "ann", stores.ErrNotHeld)
		s.mustLock("disk", "ann")
		s.mustUnlock("disk", "ann")
		s.renewFails("disk", "ann", stores.ErrNotHeld)
		s.mustLock("disk", "bob")
	},
}, {
	name: "an expired lock cannot be renewed",
	rule: "Renew of an expired lock fails with ErrNotHeld and does not acquire it again.",
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
	rule: "A request whose ctx has ended before the call has no effect.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.briefTTL())
		_, _ = stores.Renew(canceledContext(), s.Store, stores.Request{Key: f.key("disk"), Owner: "ann", TTL: lease})
		f.waitExpired(f.briefTTL())
		s.mustLock("disk", "bob")
	},
}, {
	name: "a renewal during Unlock does not restore the lock",
	rule: "Concurrent calls of Renew and Unlock have an order: after both the lock is free.",
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
		f.want(err == nil || errors.Is(err, stores.ErrNotHeld), "Renew during Unlock returned %v", err)
		return err == nil
	})
	s.mustLock(name, "bob")
}
