package conformance

import (
	"math"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// declareRows are about stores that implement stores.Declarer.
func declareRows() []row {
	return needing(slices.Concat(
		declaredRows, limitRows, groupRows, withdrawnRows, memberRows, memberTimeRows, memberEndRows, declareRaceRows,
		needing(declaredListRows, listing),
		needing(slices.Concat(memberWaitRows, memberLineRows, gaveUpRows, withdrawnWaitRows, memberWaitRaceRows), waiting, listing),
		needing(declaredWatchRows, watching),
	), declaring)
}

const (
	declareRule = "A declared lock exists, held or not, from Declare until it is withdrawn, and its group tells it."
	groupRule   = "Group returns the locks of a group, held or not, as of one moment, sorted by key."
)

// declaredRows are about locks that exist.
var declaredRows = []row{{
	name: "a declared lock exists while nobody holds it",
	rule: declareRule + " Then it has only a key and the TTL that it was declared with.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		other.gathers("room/", free("room/disk"))
		other.keeps("room/disk", "ann", stores.ErrNotHeld)
	},
}, {
	name: "a declared lock is told as it is held",
	rule: declareRule + " A row has who holds the lock, with its TTL, token and metadata, and the TTL that it was declared with.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		req := b.member("room/disk", "ann")
		req.Metadata = map[string]string{"host": "a", "鍵": ""}
		l := declared(held("room/disk", "ann", s.grantsAs(req)))
		l.Metadata = req.Metadata
		other.gathers("room/", l)
		other.frees("room/disk", "ann")
		s.gathers("room/", free("room/disk"))
		s.gathers("room/", declared(held("room/disk", "bob", other.admits("room/disk", "bob"))))
	},
}, {
	name: "a declared lock outlives those who hold it",
	rule: declareRule,
	check: func(b *bench) {
		s := b.open()
		s.declaresFor("room/disk", b.short())
		want := stores.LockInfo{Key: "room/disk", DeclaredTTL: b.short()}
		s.admits("room/disk", "ann")
		b.expire(b.short())
		s.gathers("room/", want)
		s.admits("room/disk", "bob")
		b.expire(b.short())
		s.grantsFor("room/disk", "carl", b.short())
		b.expire(b.short())
		s.gathers("room/", want)
		s.grants("room/disk", "dora")
		s.frees("room/disk", "dora")
		s.gathers("room/", want)
	},
}, {
	name: "a lock is declared once",
	rule: "Declare fails with ErrDeclared if the group has the lock, and changes nothing then.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		other.declines(b.declaration("room/disk", lease/2), stores.ErrDeclared)
		s.gathers("room/", free("room/disk"))
		l := declared(held("room/disk", "ann", s.admits("room/disk", "ann")))
		other.declines(b.declaration("room/disk", lease/2), stores.ErrDeclared)
		s.gathers("room/", l)
		other.bars("room/disk", "bob")
		s.frees("room/disk", "ann")
	},
}, {
	name: "a lock that is held is declared",
	rule: "Declare lets the lock exist, whether or not somebody holds it; it stays the lock of who does.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		l := held("room/disk", "ann", s.grants("room/disk", "ann"))
		s.gathered("room/", 0)
		other.declares("room/disk")
		s.gathers("room/", declared(l))
		other.bars("room/disk", "bob")
		s.frees("room/disk", "ann")
		s.gathers("room/", free("room/disk"))
		other.admits("room/disk", "bob")
	},
}, {
	name: "declared locks outlive their client",
	rule: "Close leaves locks as they are, those that nobody holds too.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		b.want(s.Close() == nil, "Close failed")
		other.gathers("room/", free("room/disk"))
		b.open().withdraws("room/disk")
	},
}, {
	name: "a declaration whose ctx has ended changes nothing",
	rule: "A request that was given up before it was made has no effect.",
	check: func(b *bench) {
		s := b.open()
		_ = stores.Declare(ended(), s.Store, b.declaration("room/disk", lease))
		s.gathered("room/", 0)
		s.declares("room/disk")
		_ = stores.Withdraw(ended(), s.Store, b.key("room/"), b.key("room/disk"))
		s.gathers("room/", free("room/disk"))
		_, _ = s.TryLock(ended(), b.member("room/disk", "ann"))
		s.gathers("room/", free("room/disk"))
	},
}}

// limitRows are about how many locks a group has.
var limitRows = []row{{
	name: "a group has as many locks as the limit says",
	rule: "Declare fails with ErrLimit if the group has as many locks as the limit says, and changes nothing.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		third := b.declaration("room/c", lease)
		third.Limit = 2
		for _, name := range []string{"room/a", "room/b"} {
			d := b.declaration(name, lease)
			d.Limit = 2
			s.declaresAs(d)
		}
		other.declines(third, stores.ErrLimit)
		s.admits("room/a", "ann")
		s.declines(third, stores.ErrLimit)
		s.rejects("room/c", "ann", stores.ErrNotDeclared)
		s.withdraws("room/a")
		other.declaresAs(third)
		s.gathers("room/", freeAll("room/b", "room/c")...)
	},
}, {
	name: "a lock is declared already, be its group full or not",
	rule: "Declare fails with ErrDeclared if the group has it; else with ErrLimit if the group is full.",
	check: func(b *bench) {
		s := b.open()
		d := b.declaration("room/a", lease)
		d.Limit = 1
		s.declaresAs(d)
		s.declines(d, stores.ErrDeclared)
	},
}, {
	name: "a limit is that of the call",
	rule: "Limit is how many locks the group may have with this one; zero or less is no limit.",
	check: func(b *bench) {
		s := b.open()
		for i, limit := range []int{1, 0, -1, 4, math.MaxInt, math.MinInt} {
			d := b.declaration(nth("room/disk", i), lease)
			d.Limit = limit
			s.declaresAs(d)
		}
		for _, limit := range []int{1, 5, 6} {
			d := b.declaration("room/one more", lease)
			d.Limit = limit
			s.declines(d, stores.ErrLimit)
		}
		s.gathered("room/", 6)
	},
}, {
	name: "what is not of the group does not fill it",
	rule: "The locks of a group are counted without others: those of other groups, and those that are held and not declared.",
	check: func(b *bench) {
		s := b.open()
		s.declares("hall/a", "hall/b", "roomy/a")
		s.grants("room/a", "ann")
		s.declares("room/b")
		s.withdraws("room/b")
		d := b.declaration("room/c", lease)
		d.Limit = 1
		s.declaresAs(d)
	},
}}

// groupRows are about what Group returns.
var groupRows = []row{{
	name: "a group without locks is told as such",
	rule: "A group without locks is no error.",
	check: func(b *bench) {
		s := b.open()
		s.gathered("room/", 0)
		s.declares("room/disk")
		s.withdraws("room/disk")
		s.gathered("room/", 0)
	},
}, {
	name: "a group is sorted by key",
	rule: groupRule,
	check: func(b *bench) {
		s := b.open()
		s.declares("room/ab", "room/b", "room/a", "room/B", "room/é", "room/a/b", "room/10", "room/9")
		s.admits("room/b", "ann")
		s.admits("room/10", "ann")
		var got []string
		for _, l := range s.group("room/") {
			got = append(got, l.Key)
		}
		want := []string{"room/10", "room/9", "room/B", "room/a", "room/a/b", "room/ab", "room/b", "room/é"}
		b.want(slices.Equal(got, want), "the group is %q, want %q", got, want)
	},
}, {
	name: "a group is complete",
	rule: groupRule + " However many there are, none is missing.",
	check: func(b *bench) {
		want := make([]stores.LockInfo, 300)
		for i := range want {
			want[i] = free(nth("room/disk", i))
		}
		s, other := b.open(), b.open()
		together(len(want), func(i int) bool {
			pick(i, s, other).declares(want[i].Key)
			return true
		})
		for i := range want {
			if i%3 == 0 {
				want[i] = declared(held(want[i].Key, "ann", s.admits(want[i].Key, "ann")))
			}
		}
		other.gathers("room/", want...)
	},
}, {
	name: "a lock is of its group and of no other",
	rule: "A declared lock is one of a group; for other groups it does not exist, though its key may begin with their names.",
	check: func(b *bench) {
		s := b.open()
		for group, name := range map[string]string{"r": "rest", "ro": "room", "room": "room/disk"} {
			s.declaresAs(stores.Declaration{Group: b.key(group), Key: b.key(name), TTL: lease})
		}
		s.grants("room/gate", "ann")
		s.gathers("r", free("rest"))
		s.gathers("ro", free("room"))
		s.gathers("room", free("room/disk"))
		s.gathered("room/", 0)
		s.lacks("room/disk")
		s.rejects("room/disk", "ann", stores.ErrNotDeclared)
		s.gathers("room", free("room/disk"))
	},
}, {
	name: "a group has names as they were given",
	rule: "Groups, keys and owners are opaque and come back as they are.",
	check: func(b *bench) {
		for _, n := range names {
			if !n.bytes {
				groupNames(b, n.these)
			}
		}
	},
}, {
	name:  "a group has names of any bytes",
	rule:  "Groups, keys and owners are opaque and come back as they are.",
	needs: []string{anyBytes},
	check: func(b *bench) {
		for _, n := range names {
			if n.bytes {
				groupNames(b, n.these)
			}
		}
	},
}}

// groupNames declares a lock for each name, in a group that has the name too, takes them
// all, and withdraws them one by one.
func groupNames(b *bench, names []string) {
	s := b.open()
	member := func(name string) stores.Request {
		return stores.Request{Group: b.key(name), Key: b.key(name), Owner: name}
	}
	for _, name := range names {
		s.declaresAs(stores.Declaration{Group: b.key(name), Key: b.key(name), TTL: lease, Limit: 1})
	}
	for _, name := range names {
		s.gathers(name, declared(held(name, name, s.grantsAs(member(name)))))
	}
	for _, name := range names {
		err := stores.Withdraw(b.ctx, s.Store, b.key(name), b.key(name))
		b.want(err == nil, "Withdraw of %q failed: %v", name, err)
		s.gathered(name, 0)
		s.keeps(name, name, stores.ErrNotHeld)
	}
}

// declaredListRows are about declared locks in a list.
var declaredListRows = []row{{
	name: "a list has declared locks that nobody holds",
	rule: "List returns the locks under the prefix that are held or declared, sorted by key.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/b", "room/d", "roo/m", "hall/a")
		a := held("room/a", "ann", s.grants("room/a", "ann"))
		c := held("room/c", "ann", s.grants("room/c", "ann"))
		d := declared(held("room/d", "ann", s.admits("room/d", "ann")))
		b.tells(other.list("room/"), []stores.LockInfo{a, free("room/b"), c, d})
		other.lists("", "hall/a", "roo/m", "room/a", "room/b", "room/c", "room/d")
		s.frees("room/d", "ann")
		s.frees("room/a", "ann")
		b.tells(other.list("room/"), []stores.LockInfo{free("room/b"), c, free("room/d")})
		s.withdraws("room/b")
		other.lists("room/", "room/c", "room/d")
	},
}, {
	name: "a declared lock is told throughout while it changes hands",
	rule: "A lock that is held or declared throughout is always told, once.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/a", "room/m", "room/z")
		during(func() { comeAndGo(s, "room/m") }, func() {
			for range 20 {
				other.lists("room/", "room/a", "room/m", "room/z")
				other.gathered("room/", 3)
			}
		})
	},
}, {
	name:  "a free lock is told with those who wait for it",
	rule:  "A lock that nobody holds has only a key, the TTL that it was declared with, and perhaps waiters.",
	needs: []string{multi, waiting},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		s.grants("gate", "ann")
		bob := other.waitsAll("bob", "gate", "room/disk")
		want := free("room/disk")
		want.Waiters = 1
		s.gathers("room/", want)
		b.tells(s.list("room/"), []stores.LockInfo{want})
		s.bars("room/disk", "carl")
		s.frees("gate", "ann")
		bob.gets()
	},
}}
