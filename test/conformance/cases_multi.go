package conformance

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// multiRows are about stores that implement stores.MultiLocker.
func multiRows() []row {
	return slices.Concat(
		withNeeds(multiGrantRows, needMulti), withNeeds(multiRefusedRows, needMulti), withNeeds(multiWaitRows, needMulti, needWait, needList),
		withNeeds(multiRaceRows, needMulti), withNeeds(multiWaitRaceRows, needMulti, needWait, needList),
	)
}

// allRows are about several locks that are granted at once.
var multiGrantRows = []row{{
	name: "several free locks are granted in one step",
	rule: "LockAll takes the locks of all keys for one owner.",
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
	name: "a grant of several locks tells their TTL",
	rule: "A grant carries how long each of the locks lasts from the grant, as asked for.",
	check: func(f *fixture) {
		g := f.open().mustLockAllFor("ann", 2*lease, "disk", "gate")
		f.want(g.TTL == 2*lease, "the TTL is %v, want %v", g.TTL, 2*lease)
	},
}, {
	name: "one lock is granted like several",
	rule: "LockAll takes 1 to 64 locks.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockAll("ann", "disk")
		s.mustRefuse("disk", "bob")
		s.mustRefuseAll("bob", "disk")
		s.mustUnlock("disk", "ann")
		s.mustLockAll("bob", "disk")
	},
}, {
	name: "as many as 64 locks are granted at once",
	rule: "LockAll takes 1 to 64 locks.",
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
	rule: "The grant has one token for all locks, greater than every token that the store gave for any of these keys before.",
	check: func(f *fixture) {
		s := f.open()
		last := map[string]uint64{}
		for i := range 3 {
			for range i { // so that the keys have a history of different lengths
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
	name:  "each of several locks is told in a list",
	rule:  "The grant is for each of the locks, with one token for all; each is a lock like any other.",
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
	name: "each of several locks is given back by itself",
	rule: "After LockAll each lock is a lock like any other, to be given back by itself.",
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
	name:  "each of several locks is renewed by itself",
	rule:  "After LockAll each lock is a lock like any other, to be renewed by itself; it keeps the token.",
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
	rule: "Each of the locks is held until its TTL has passed, and its holder stops before the next one starts.",
	check: func(f *fixture) {
		s := f.open()
		sent := time.Now()
		g := s.mustLockAllFor("ann", f.briefTTL(), "disk", "gate")
		latest := time.Now().Add(f.briefTTL() + f.Slack)
		f.wantDeadlineFromSend(g, sent, f.briefTTL())
		s.mustExpireBetween("disk", sent.Add(f.briefTTL()), latest)
		time.Sleep(time.Until(latest))
		s.mustLock("gate", "next")
	},
}}

// noneRows are about several locks of which one is in the way.
var multiRefusedRows = []row{{
	name: "several locks are refused if one is held",
	rule: "LockAll takes the locks of all keys or none of them. That one is held is an answer and not an error.",
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
	name: "an expired lock is not in the way of several",
	rule: "An expired lock is not held by anybody: LockAll takes it.",
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
	name: "a LockAll whose ctx has ended takes nothing",
	rule: "A request that was given up before it was made has no effect.",
	check: func(f *fixture) {
		s := f.open()
		_, _ = stores.LockAll(canceledContext(), s.Store, stores.MultiRequest{
			Keys: f.keys([]string{"disk", "gate"}), Owner: "ann", TTL: lease,
		})
		s.mustLockAll("bob", "gate", "disk")
	},
}}

// multiRaceRows are about many that want several locks at once.
var multiRaceRows = []row{{
	name: "of a crowd one gets several locks",
	rule: "Of many that try to take the same free locks at once exactly one is granted, in whichever order they name them.",
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
	name:      "who is refused several locks has held none for a moment",
	rule:      "LockAll takes the locks of all keys or none of them, and at no moment a part.",
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
	name:      "who gets several locks gets them in one moment",
	rule:      "LockAll takes the locks of all keys or none of them, and at no moment a part.",
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

// together looks at one lock until it is held, and expects the other to be held as well.
func (f *fixture) wantHeldTogether(s store, one, other string) {
	for end := time.Now().Add(callTimeout); time.Now().Before(end); {
		if err := s.unlock(one, "ann"); errors.Is(err, stores.ErrNotOwner) {
			s.mustRefuse(other, "ann")
			return
		}
	}
	f.failf("nobody holds %q", one)
}
