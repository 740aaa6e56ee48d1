package conformance

import (
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// leaseRows test how long a lock lasts that is not released.
var leaseRows = []row{{
	name: "a lock lasts for its TTL",
	rule: "A lock is held until its TTL has passed on the store's clock: not for less, and not for more.",
	check: func(f *fixture) {
		s := f.open()
		sent := time.Now()
		s.mustLockFor("disk", "ann", f.briefTTL())
		s.mustExpireBetween("disk", sent.Add(f.briefTTL()), time.Now().Add(f.briefTTL()+f.Slack))
	},
}, {
	name: "each grant has its own TTL",
	rule: "A lock's TTL is that of the request that acquired it, whatever other requests have.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		s.mustLock("gate", "ann")
		f.waitExpired(f.shortTTL())
		s.mustLock("disk", "bob")
		s.mustRefuse("gate", "bob")
	},
}, {
	name: "a fractional TTL is rounded up",
	rule: "A TTL that is not a multiple of the store's unit is rounded up, never down.",
	check: func(f *fixture) {
		s := f.open()
		ttl := f.briefTTL() + f.MinTTL/2
		sent := time.Now()
		s.mustLockFor("disk", "ann", ttl)
		s.mustExpireBetween("disk", sent.Add(ttl), time.Now().Add(f.briefTTL()+f.MinTTL+f.Slack))
	},
}, {
	name: "a TTL may be a millisecond",
	rule: "The minimum TTL is granted and expires, at the latest after the shortest lease of the store.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", stores.MinTTL)
		f.waitExpired(f.MinTTL)
		s.mustLock("disk", "bob")
	},
}, {
	name: "a TTL may be 68 years",
	rule: "The maximum TTL, as many seconds as an int32 holds, is granted and does not expire immediately.",
	check: func(f *fixture) {
		s := f.open()
		sent := time.Now()
		g := s.mustLockFor("disk", "ann", stores.MaxTTL)
		f.want(g.Expires.Sub(sent) > stores.MaxTTL/2, "the holder must stop after %v", g.Expires.Sub(sent))
		f.waitExpired(f.shortTTL())
		s.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
	},
}}

// expiredRows test locks whose TTL has passed.
var expiredRows = []row{{
	name: "an expired lock is free",
	rule: "An expired lock is free: TryLock acquires it.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.mustLock("disk", "bob")
		s.mustRefuse("disk", "ann")
	},
}, {
	name: "an owner acquires its expired lock again",
	rule: "An expired lock is free: its former owner can acquire it again.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.mustLock("disk", "ann")
		s.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "an expired lock cannot be released",
	rule: "An expired lock is free: Unlock by any owner fails with ErrNotHeld.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.unlockFails("disk", "ann", stores.ErrNotHeld)
		s.unlockFails("disk", "bob", stores.ErrNotHeld)
	},
}, {
	name: "a late owner cannot release its successor's lock",
	rule: "Unlock by the owner of an expired lock fails with ErrNotOwner once another owner holds it, and changes nothing.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.mustLock("disk", "bob")
		s.unlockFails("disk", "ann", stores.ErrNotOwner)
		s.mustRefuse("disk", "carl")
		s.mustUnlock("disk", "bob")
	},
}, {
	name: "an old lease does not end a new one",
	rule: "The expiry of a released lock does not affect the next holder.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.briefTTL())
		s.mustUnlock("disk", "ann")
		s.mustLock("disk", "ann")
		f.waitExpired(2 * f.briefTTL())
		s.mustRefuse("disk", "bob")
	},
}}

// deadlineRows test the deadline of the holder.
var deadlineRows = []row{{
	name: "the holder stops before the next owner starts",
	rule: "Expires is never later than the time at which the store grants the lock to another owner.",
	check: func(f *fixture) {
		s := f.open()
		sent := time.Now()
		g := s.mustLockFor("disk", "ann", f.briefTTL())
		f.wantDeadlineFromSend(g, sent, f.briefTTL())
		s.mustExpireBetween("disk", g.Expires, time.Now().Add(f.briefTTL()+f.Slack))
	},
}, {
	name: "the holder has most of its lease",
	rule: "Expires is the TTL minus the duration of the request and a safety margin.",
	check: func(f *fixture) {
		sent := time.Now()
		g := f.open().mustLock("disk", "ann")
		f.want(g.Expires.Sub(sent) > lease/2, "of %v the holder has only %v", lease, g.Expires.Sub(sent))
	},
}, {
	name:      "the deadline has a monotonic reading",
	rule:      "Expires has a monotonic reading, so that a holder stops in time even if the wall clock is set.",
	realClock: true, // the clock of a bubble has no monotonic readings
	check: func(f *fixture) {
		f.wantMonotonic(f.open().mustLock("disk", "ann"))
	},
}}

// wantDeadlineFromSend expects the deadline to count from before the request was sent.
// This can be checked only in a bubble, where the row and the store read the same time.
func (f *fixture) wantDeadlineFromSend(g stores.Grant, sent time.Time, ttl time.Duration) {
	late := g.Expires.Sub(sent.Add(ttl))
	f.want(!f.Bubble || late <= 0, "the deadline is %v later than the request plus its TTL", late)
}

// wantMonotonic expects the deadline to have a monotonic reading.
func (f *fixture) wantMonotonic(g stores.Grant) {
	f.want(g.Expires != g.Expires.Round(0), "%v has no monotonic reading", g.Expires)
}
