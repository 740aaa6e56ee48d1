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
		needing(allRows, multi), needing(noneRows, multi), needing(multiWaitRows, multi, waiting, listing),
		needing(multiRaceRows, multi), needing(multiWaitRaceRows, multi, waiting, listing),
	)
}

// allRows are about several locks that are granted at once.
var allRows = []row{{
	name: "several free locks are granted in one step",
	rule: "LockAll takes the locks of all keys for one owner.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		g := s.grantsAll("ann", "gate", "disk", "hatch")
		b.want(g.Token != 0 && !g.Expires.IsZero(), "the grant is %+v", g)
		for _, name := range []string{"disk", "gate", "hatch"} {
			other.refuses(name, "bob")
			other.keeps(name, "bob", stores.ErrNotOwner)
			other.frees(name, "ann")
			other.grants(name, "bob")
		}
	},
}, {
	name: "a grant of several locks tells their TTL",
	rule: "A grant carries how long each of the locks lasts from the grant, as asked for.",
	check: func(b *bench) {
		g := b.open().grantsAllFor("ann", 2*lease, "disk", "gate")
		b.want(g.TTL == 2*lease, "the TTL is %v, want %v", g.TTL, 2*lease)
	},
}, {
	name: "one lock is granted like several",
	rule: "LockAll takes 1 to 64 locks.",
	check: func(b *bench) {
		s := b.open()
		s.grantsAll("ann", "disk")
		s.refuses("disk", "bob")
		s.refusesAll("bob", "disk")
		s.frees("disk", "ann")
		s.grantsAll("bob", "disk")
	},
}, {
	name: "as many as 64 locks are granted at once",
	rule: "LockAll takes 1 to 64 locks.",
	check: func(b *bench) {
		names := make([]string, stores.MaxKeys)
		for i := range names {
			names[i] = nth(long("disk")[:900], i)
		}
		s := b.open()
		s.grantsAll("ann", names...)
		for _, name := range names {
			s.refuses(name, "bob")
			s.frees(name, "ann")
		}
	},
}, {
	name: "several locks have one token",
	rule: "The grant has one token for all locks, greater than every token that the store gave for any of these keys before.",
	check: func(b *bench) {
		s := b.open()
		last := map[string]uint64{}
		for i := range 3 {
			for range i { // so that the keys have a history of different lengths
				last[nth("disk", i)] = s.grants(nth("disk", i), "ann").Token
				s.frees(nth("disk", i), "ann")
			}
		}
		token := s.grantsAll("ann", nth("disk", 0), nth("disk", 1), nth("disk", 2)).Token
		for i := range 3 {
			b.greater(token, last[nth("disk", i)])
			s.frees(nth("disk", i), "ann")
			b.greater(s.grants(nth("disk", i), "bob").Token, token)
		}
	},
}, {
	name:  "each of several locks is told in a list",
	rule:  "The grant is for each of the locks, with one token for all; each is a lock like any other.",
	needs: []string{listing},
	check: func(b *bench) {
		s := b.open()
		token := s.grantsAll("ann", "gate", "disk").Token
		b.tells(s.list(""), []stores.LockInfo{
			{Key: "disk", Owner: "ann", TTL: lease, Token: token},
			{Key: "gate", Owner: "ann", TTL: lease, Token: token},
		})
	},
}, {
	name: "each of several locks is given back by itself",
	rule: "After LockAll each lock is a lock like any other, to be given back by itself.",
	check: func(b *bench) {
		s := b.open()
		s.grantsAll("ann", "disk", "gate")
		s.frees("disk", "ann")
		s.keeps("disk", "ann", stores.ErrNotHeld)
		s.grants("disk", "bob")
		s.refuses("gate", "bob")
		s.frees("gate", "ann")
	},
}, {
	name:  "each of several locks is renewed by itself",
	rule:  "After LockAll each lock is a lock like any other, to be renewed by itself; it keeps the token.",
	needs: []string{renewing},
	check: func(b *bench) {
		s := b.open()
		token := s.grantsAll("ann", "disk", "gate").Token
		g := s.renews("gate", "ann", b.short())
		b.want(g.Token == token, "token %d became %d", token, g.Token)
		b.expire(b.short())
		s.grants("gate", "bob")
		s.refuses("disk", "bob")
		s.renews("disk", "ann", lease)
	},
}, {
	name: "several locks last for their TTL",
	rule: "Each of the locks is held until its TTL has passed, and its holder stops before the next one starts.",
	check: func(b *bench) {
		s := b.open()
		sent := time.Now()
		g := s.grantsAllFor("ann", b.brief(), "disk", "gate")
		latest := time.Now().Add(b.brief() + b.Slack)
		b.counted(g, sent, b.brief())
		s.ends("disk", sent.Add(b.brief()), latest)
		time.Sleep(time.Until(latest))
		s.grants("gate", "next")
	},
}}

// noneRows are about several locks of which one is in the way.
var noneRows = []row{{
	name: "several locks are refused if one is held",
	rule: "LockAll takes the locks of all keys or none of them. That one is held is an answer and not an error.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("gate", "ann")
		other.refusesAll("bob", "disk", "gate", "hatch")
		other.refusesAll("bob", "gate", "disk")
		other.refusesAll("ann", "disk", "gate")
		for _, name := range []string{"disk", "hatch"} {
			other.keeps(name, "bob", stores.ErrNotHeld)
			other.grants(name, "carl")
		}
		s.frees("gate", "ann")
	},
}, {
	name: "an expired lock is not in the way of several",
	rule: "An expired lock is not held by anybody: LockAll takes it.",
	check: func(b *bench) {
		s := b.open()
		s.grantsFor("gate", "ann", b.short())
		b.expire(b.short())
		s.grantsAll("bob", "disk", "gate")
		s.keeps("gate", "ann", stores.ErrNotOwner)
		s.grantsAllFor("carl", b.short(), "hatch", "shed")
		b.expire(b.short())
		s.grantsAll("dora", "shed", "hatch")
	},
}, {
	name: "a LockAll whose ctx has ended takes nothing",
	rule: "A request that was given up before it was made has no effect.",
	check: func(b *bench) {
		s := b.open()
		_, _ = stores.LockAll(ended(), s.Store, stores.MultiRequest{
			Keys: b.keys([]string{"disk", "gate"}), Owner: "ann", TTL: lease,
		})
		s.grantsAll("bob", "gate", "disk")
	},
}}

// multiRaceRows are about many that want several locks at once.
var multiRaceRows = []row{{
	name: "of a crowd one gets several locks",
	rule: "Of many that try to take the same free locks at once exactly one is granted, in whichever order they name them.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		b.oneOf(crowd, together(crowd, func(i int) bool {
			names := []string{"disk", "gate", "hatch"}
			if i/2%2 == 1 {
				slices.Reverse(names)
			}
			g, err := pick(i, s, other).lockAll(nth("owner", i), lease, names...)
			b.want(err == nil, "LockAll failed: %v", err)
			return g.Acquired
		}))
	},
}, {
	name:  "who is refused several locks has held none for a moment",
	rule:  "LockAll takes the locks of all keys or none of them, and at no moment a part.",
	awake: true,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("gate", "ann")
		var refused atomic.Int64
		during(func() {
			other.refusesAll("bob", "disk", "gate")
			refused.Add(1)
		}, func() {
			for refused.Load() < rounds {
				s.grants("disk", "carl")
				s.frees("disk", "carl")
			}
		})
	},
}, {
	name:  "who gets several locks gets them in one moment",
	rule:  "LockAll takes the locks of all keys or none of them, and at no moment a part.",
	awake: true,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		for i := range rounds {
			first, last := nth("disk", i), nth("disk", rounds+i)
			together(2, func(j int) bool {
				if j == 0 {
					other.grantsAll("bob", first, last)
				} else {
					b.together(s, pick(i, first, last), pick(i+1, first, last))
				}
				return true
			})
		}
	},
}}

// together looks at one lock until it is held, and expects the other to be held as well.
func (b *bench) together(s store, one, other string) {
	for end := time.Now().Add(callLimit); time.Now().Before(end); {
		if err := s.unlock(one, "ann"); errors.Is(err, stores.ErrNotOwner) {
			s.refuses(other, "ann")
			return
		}
	}
	b.failf("nobody holds %q", one)
}
