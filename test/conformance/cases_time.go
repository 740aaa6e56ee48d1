package conformance

import (
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// leaseRows are about how long a lock lasts that nobody gives back.
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
	name: "each grant has a TTL of its own",
	rule: "A lock's TTL is that of the request that took it, whatever others ask for.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		s.mustLock("gate", "ann")
		f.waitExpired(f.shortTTL())
		s.mustLock("disk", "bob")
		s.mustRefuse("gate", "bob")
	},
}, {
	name: "a broken TTL is rounded up",
	rule: "A lease that is no whole number of the store's units lasts longer than asked for, never shorter.",
	check: func(f *fixture) {
		s := f.open()
		ttl := f.briefTTL() + f.MinTTL/2
		sent := time.Now()
		s.mustLockFor("disk", "ann", ttl)
		s.mustExpireBetween("disk", sent.Add(ttl), time.Now().Add(f.briefTTL()+f.MinTTL+f.Slack))
	},
}, {
	name: "a millisecond is a TTL",
	rule: "The least TTL is granted and ends, if need be as the shortest lease that the store can keep.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", stores.MinTTL)
		f.waitExpired(f.MinTTL)
		s.mustLock("disk", "bob")
	},
}, {
	name: "68 years are a TTL",
	rule: "The largest TTL, as many seconds as an int32 holds, is granted and does not end at once.",
	check: func(f *fixture) {
		s := f.open()
		sent := time.Now()
		g := s.mustLockFor("disk", "ann", stores.MaxTTL)
		f.want(g.Expires.Sub(sent) > stores.MaxTTL/2, "the holder is told to stop after %v", g.Expires.Sub(sent))
		f.waitExpired(f.shortTTL())
		s.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
	},
}}

// expiredRows are about a lock whose TTL has passed.
var expiredRows = []row{{
	name: "an expired lock is free",
	rule: "An expired lock is not held by anybody: TryLock takes it.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.mustLock("disk", "bob")
		s.mustRefuse("disk", "ann")
	},
}, {
	name: "an expired lock is taken again by its old owner",
	rule: "An expired lock is not held by anybody: its old owner may take it like anybody else.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.mustLock("disk", "ann")
		s.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
	},
}, {
	name: "an expired lock cannot be given back",
	rule: "An expired lock is not held by anybody: Unlock fails with ErrNotHeld, whoever asks.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.unlockFails("disk", "ann", stores.ErrNotHeld)
		s.unlockFails("disk", "bob", stores.ErrNotHeld)
	},
}, {
	name: "an owner that came too late does not free its successor's lock",
	rule: "Unlock by the owner of an expired lock fails with ErrNotOwner once another has it, and changes nothing.",
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
	rule: "What was due at the end of a lock that was given back does not touch the lock of who took it since.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.briefTTL())
		s.mustUnlock("disk", "ann")
		s.mustLock("disk", "ann")
		f.waitExpired(2 * f.briefTTL())
		s.mustRefuse("disk", "bob")
	},
}}

// deadlineRows are about what the holder is told of the end.
var deadlineRows = []row{{
	name: "the holder stops before the next one starts",
	rule: "Expires is counted from before the request left: it is never later than the moment the store lets another in.",
	check: func(f *fixture) {
		s := f.open()
		sent := time.Now()
		g := s.mustLockFor("disk", "ann", f.briefTTL())
		f.wantDeadlineFromSend(g, sent, f.briefTTL())
		s.mustExpireBetween("disk", g.Expires, time.Now().Add(f.briefTTL()+f.Slack))
	},
}, {
	name: "the holder has most of its lease",
	rule: "Expires leaves the holder its TTL but for the time that the request took and a reserve.",
	check: func(f *fixture) {
		sent := time.Now()
		g := f.open().mustLock("disk", "ann")
		f.want(g.Expires.Sub(sent) > lease/2, "of %v the holder is left %v", lease, g.Expires.Sub(sent))
	},
}, {
	name:      "the deadline is on the monotonic clock",
	rule:      "Expires carries a monotonic reading, so that setting the wall clock does not make a holder overstay.",
	realClock: true, // the clock of a bubble has no monotonic readings
	check: func(f *fixture) {
		f.wantMonotonic(f.open().mustLock("disk", "ann"))
	},
}}

// counted expects that the deadline was counted from before the request left. That shows
// in a bubble only, where the row and the store read the same time from the clock.
func (f *fixture) wantDeadlineFromSend(g stores.Grant, sent time.Time, ttl time.Duration) {
	late := g.Expires.Sub(sent.Add(ttl))
	f.want(!f.Bubble || late <= 0, "the deadline is %v later than the TTL after the request", late)
}

// monotonic expects that the deadline is no mere wall clock reading.
func (f *fixture) wantMonotonic(g stores.Grant) {
	f.want(g.Expires != g.Expires.Round(0), "%v is a moment of the wall clock", g.Expires)
}
