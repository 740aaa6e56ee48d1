package conformance

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// multiRows test stores that implement stores.MultiLocker.
func multiRows() []row {
	return slices.Concat(
		withNeeds(multiGrantRows, needMulti), withNeeds(multiRefusedRows, needMulti), withNeeds(multiWaitRows, needMulti, needWait, needList),
		withNeeds(multiRaceRows, needMulti), withNeeds(multiWaitRaceRows, needMulti, needWait, needList),
	)
}

// multiGrantRows test grants of several locks.
var multiGrantRows = []row{{
	name: "several free locks are granted together",
	rule: "LockAll acquires the locks of all keys for one owner.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		g := s.mustLockAll("ann", "gate", "disk", "hatch")
		f.want(g.Token != 0 && !g.Expires.IsZero(), "the grant is %+v", g)
		for _, name := range []string{"disk", "gate", "hatch"} {
			other.mustRefuse(name, "bob")
			other.unlockFails(name, "bob", stores.ErrNotOwner)
			other.mustUnlock(name, "ann")
			other.mustLock(name, "bob")
		}
	},
}, {
	name: "a grant of several locks reports their TTL",
	rule: "A grant has the requested TTL, which counts from the grant, for each of the locks.",
	check: func(f *fixture) {
		g := f.open().mustLockAllFor("ann", 2*lease, "disk", "gate")
		f.want(g.TTL == 2*lease, "the TTL is %v, want %v", g.TTL, 2*lease)
	},
}, {
	name: "LockAll of one lock is like TryLock",
	rule: "LockAll acquires 1 to 64 locks.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockAll("ann", "disk")
		s.mustRefuse("disk", "bob")
		s.mustRefuseAll("bob", "disk")
		s.mustUnlock("disk", "ann")
		s.mustLockAll("bob", "disk")
	},
}, {
	name: "64 locks are granted together",
	rule: "LockAll acquires 1 to 64 locks.",
	check: func(f *fixture) {
		names := make([]string, stores.MaxKeys)
		for i := range names {
			names[i] = nth(longName("disk")[:900], i)
		}
		s := f.open()
		s.mustLockAll("ann", names...)
		for _, name := range names {
			s.mustRefuse(name, "bob")
			s.mustUnlock(name, "ann")
		}
	},
}, {
	name: "several locks have one token",
	rule: "The grant has one token for all locks, greater than every earlier token of any of these keys.",
	check: func(f *fixture) {
		s := f.open()
		last := map[string]uint64{}
		for i := range 3 {
			for range i { // so that the keys have histories of different lengths
				last[nth("disk", i)] = s.mustLock(nth("disk", i), "ann").Token
				s.mustUnlock(nth("disk", i), "ann")
			}
		}
		token := s.mustLockAll("ann", nth("disk", 0), nth("disk", 1), nth("disk", 2)).Token
		for i := range 3 {
			f.wantGreater(token, last[nth("disk", i)])
			s.mustUnlock(nth("disk", i), "ann")
			f.wantGreater(s.mustLock(nth("disk", i), "bob").Token, token)
		}
	},
}, {
	name:  "each of several locks is listed",
	rule:  "Each of the locks is a lock like any other, with the token of the grant.",
	needs: []string{needList},
	check: func(f *fixture) {
		s := f.open()
		token := s.mustLockAll("ann", "gate", "disk").Token
		f.wantLocks(s.list(""), []stores.LockInfo{
			{Key: "disk", Owner: "ann", TTL: lease, Token: token},
			{Key: "gate", Owner: "ann", TTL: lease, Token: token},
		})
	},
}, {
	name: "each of several locks is released separately",
	rule: "After LockAll each lock is a lock like any other and is released separately.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockAll("ann", "disk", "gate")
		s.mustUnlock("disk", "ann")
		s.unlockFails("disk", "ann", stores.ErrNotHeld)
		s.mustLock("disk", "bob")
		s.mustRefuse("gate", "bob")
		s.mustUnlock("gate", "ann")
	},
}, {
	name:  "each of several locks is renewed separately",
	rule:  "After LockAll each lock is a lock like any other and is renewed separately; it keeps the token.",
	needs: []string{needRenew},
	check: func(f *fixture) {
		s := f.open()
		token := s.mustLockAll("ann", "disk", "gate").Token
		g := s.mustRenew("gate", "ann", f.shortTTL())
		f.want(g.Token == token, "token %d became %d", token, g.Token)
		f.waitExpired(f.shortTTL())
		s.mustLock("gate", "bob")
		s.mustRefuse("disk", "bob")
		s.mustRenew("disk", "ann", lease)
	},
}, {
	name: "several locks last for their TTL",
	rule: "Each of the locks is held for its TTL, and the holder stops before the next owner starts.",
	check: func(f *fixture) {
		s := f.open()
		sent := time.Now()
		g := s.mustLockAllFor("ann", f.briefTTL(), "disk", "gate")
		latest := time.Now().Add(f.briefTTL() + f.Slack)
		f.wantDeadlineFromSend(g, sent, f.briefTTL())
		s.mustExpireBetween("disk", sent.Add(f.briefTTL()), latest)
		f.sleepUntil(latest)
		s.mustLock("gate", "next")
	},
}}

// multiRefusedRows test LockAll while one of the locks is held.
var multiRefusedRows = []row{{
	name: "several locks are refused if one is held",
	rule: "LockAll acquires all of the locks or none. A held lock is a result and not an error.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("gate", "ann")
		other.mustRefuseAll("bob", "disk", "gate", "hatch")
		other.mustRefuseAll("bob", "gate", "disk")
		other.mustRefuseAll("ann", "disk", "gate")
		for _, name := range []string{"disk", "hatch"} {
			other.unlockFails(name, "bob", stores.ErrNotHeld)
			other.mustLock(name, "carl")
		}
		s.mustUnlock("gate", "ann")
	},
}, {
	name: "an expired lock does not block LockAll",
	rule: "An expired lock is free: LockAll acquires it.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("gate", "ann", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.mustLockAll("bob", "disk", "gate")
		s.unlockFails("gate", "ann", stores.ErrNotOwner)
		s.mustLockAllFor("carl", f.shortTTL(), "hatch", "shed")
		f.waitExpired(f.shortTTL())
		s.mustLockAll("dora", "shed", "hatch")
	},
}, {
	name: "a LockAll whose ctx has ended acquires nothing",
	rule: "A request whose ctx has ended before the call has no effect.",
	check: func(f *fixture) {
		s := f.open()
		_, _ = stores.LockAll(canceledContext(), s.Store, stores.MultiRequest{
			Keys: f.keys([]string{"disk", "gate"}), Owner: "ann", TTL: lease,
		})
		s.mustLockAll("bob", "gate", "disk")
	},
}}

// multiRaceRows test concurrent calls of LockAll.
var multiRaceRows = []row{{
	name: "one of many concurrent LockAll calls is granted",
	rule: "Of many concurrent requests for the same free locks exactly one is granted, in whichever order they list the keys.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		f.wantOne(callers, concurrently(callers, func(i int) bool {
			names := []string{"disk", "gate", "hatch"}
			if i/2%2 == 1 {
				slices.Reverse(names)
			}
			g, err := pick(i, s, other).lockAll(nth("owner", i), lease, names...)
			f.want(err == nil, "LockAll failed: %v", err)
			return g.Acquired
		}))
	},
}, {
	name:      "a refused LockAll never holds a part of the locks",
	rule:      "LockAll acquires all of the locks or none, and holds a part of them at no time.",
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("gate", "ann")
		var refused atomic.Int64
		withBackground(func() {
			other.mustRefuseAll("bob", "disk", "gate")
			refused.Add(1)
		}, func() {
			for refused.Load() < rounds {
				s.mustLock("disk", "carl")
				s.mustUnlock("disk", "carl")
			}
		})
	},
}, {
	name:      "a granted LockAll acquires all locks at one moment",
	rule:      "LockAll acquires all of the locks or none, and holds a part of them at no time.",
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		for i := range rounds {
			first, last := nth("disk", i), nth("disk", rounds+i)
			concurrently(2, func(j int) bool {
				if j == 0 {
					other.mustLockAll("bob", first, last)
				} else {
					f.wantHeldTogether(s, pick(i, first, last), pick(i+1, first, last))
				}
				return true
			})
		}
	},
}}

// wantHeldTogether polls one lock until it is held, and expects the other lock to be held
// too.
func (f *fixture) wantHeldTogether(s store, one, other string) {
	for end := time.Now().Add(callTimeout); time.Now().Before(end); {
		if err := s.unlock(one, "ann"); errors.Is(err, stores.ErrNotOwner) {
			s.mustRefuse(other, "ann")
			return
		}
	}
	f.failf("%q is free", one)
}
