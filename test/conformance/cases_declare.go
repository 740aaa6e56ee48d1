package conformance

import (
	"math"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// declareRows test stores that implement stores.Declarer.
func declareRows() []row {
	return withNeeds(slices.Concat(
		declaredRows, limitRows, groupRows, withdrawnRows, memberRows, memberTimeRows, memberRevokeRows, declareRaceRows,
		withNeeds(declaredListRows, needList),
		withNeeds(slices.Concat(memberWaitRows, memberOrderRows, unlockedWaitRows, withdrawnWaitRows, memberWaitRaceRows), needWait, needList),
		withNeeds(declaredWatchRows, needWatch),
	), needDeclare)
}

const (
	declareRule = "A declared lock exists, held or free, from Declare to Withdraw, and Group returns it."
	groupRule   = "Group returns the locks of a group, held or free, as of one moment, sorted by key."
)

// declaredRows test that declared locks exist.
var declaredRows = []row{{
	name: "a declared lock exists while it is free",
	rule: declareRule + " A free lock has only a key and its declared TTL.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		other.mustGroup("room/", freeLock("room/disk"))
		other.unlockFails("room/disk", "ann", stores.ErrNotHeld)
	},
}, {
	name: "a group returns the holder of a declared lock",
	rule: declareRule + " A held lock has its owner, TTL, token and metadata, and the declared TTL.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		req := f.member("room/disk", "ann")
		req.Metadata = map[string]string{"host": "a", "鍵": ""}
		l := declaredLock(heldLock("room/disk", "ann", s.mustLockRequest(req)))
		l.Metadata = req.Metadata
		other.mustGroup("room/", l)
		other.mustUnlock("room/disk", "ann")
		s.mustGroup("room/", freeLock("room/disk"))
		s.mustGroup("room/", declaredLock(heldLock("room/disk", "bob", other.mustLockMember("room/disk", "bob"))))
	},
}, {
	name: "a declared lock outlives its holders",
	rule: declareRule,
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclareFor("room/disk", f.shortTTL())
		want := stores.LockInfo{Key: "room/disk", DeclaredTTL: f.shortTTL()}
		s.mustLockMember("room/disk", "ann")
		f.waitExpired(f.shortTTL())
		s.mustGroup("room/", want)
		s.mustLockMember("room/disk", "bob")
		f.waitExpired(f.shortTTL())
		s.mustLockFor("room/disk", "carl", f.shortTTL())
		f.waitExpired(f.shortTTL())
		s.mustGroup("room/", want)
		s.mustLock("room/disk", "dora")
		s.mustUnlock("room/disk", "dora")
		s.mustGroup("room/", want)
	},
}, {
	name: "a lock is declared once",
	rule: "Declare fails with ErrDeclared if the group has the lock, and changes nothing.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		other.declareFails(f.declaration("room/disk", lease/2), stores.ErrDeclared)
		s.mustGroup("room/", freeLock("room/disk"))
		l := declaredLock(heldLock("room/disk", "ann", s.mustLockMember("room/disk", "ann")))
		other.declareFails(f.declaration("room/disk", lease/2), stores.ErrDeclared)
		s.mustGroup("room/", l)
		other.mustRefuseMember("room/disk", "bob")
		s.mustUnlock("room/disk", "ann")
	},
}, {
	name: "a held lock can be declared",
	rule: "Declare succeeds for a free and for a held lock; the holder keeps it.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		l := heldLock("room/disk", "ann", s.mustLock("room/disk", "ann"))
		s.mustGroupLen("room/", 0)
		other.mustDeclare("room/disk")
		s.mustGroup("room/", declaredLock(l))
		other.mustRefuseMember("room/disk", "bob")
		s.mustUnlock("room/disk", "ann")
		s.mustGroup("room/", freeLock("room/disk"))
		other.mustLockMember("room/disk", "bob")
	},
}, {
	name: "declared locks outlive their client",
	rule: "Close does not withdraw locks, even if they are free.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		f.want(s.Close() == nil, "Close failed")
		other.mustGroup("room/", freeLock("room/disk"))
		f.open().mustWithdraw("room/disk")
	},
}, {
	name: "a Declare whose ctx has ended changes nothing",
	rule: "A request whose ctx has ended before the call has no effect.",
	check: func(f *fixture) {
		s := f.open()
		_ = stores.Declare(canceledContext(), s.Store, f.declaration("room/disk", lease))
		s.mustGroupLen("room/", 0)
		s.mustDeclare("room/disk")
		_ = stores.Withdraw(canceledContext(), s.Store, f.key("room/"), f.key("room/disk"))
		s.mustGroup("room/", freeLock("room/disk"))
		_, _ = s.TryLock(canceledContext(), f.member("room/disk", "ann"))
		s.mustGroup("room/", freeLock("room/disk"))
	},
}}

// limitRows test the limit of locks in a group.
var limitRows = []row{{
	name: "a group has at most as many locks as its limit",
	rule: "Declare fails with ErrLimit if the group has as many locks as the limit, and changes nothing.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		third := f.declaration("room/c", lease)
		third.Limit = 2
		for _, name := range []string{"room/a", "room/b"} {
			d := f.declaration(name, lease)
			d.Limit = 2
			s.mustDeclareAs(d)
		}
		other.declareFails(third, stores.ErrLimit)
		s.mustLockMember("room/a", "ann")
		s.declareFails(third, stores.ErrLimit)
		s.lockMemberFails("room/c", "ann", stores.ErrNotDeclared)
		s.mustWithdraw("room/a")
		other.mustDeclareAs(third)
		s.mustGroup("room/", freeLocks("room/b", "room/c")...)
	},
}, {
	name: "a declared lock in a full group fails with ErrDeclared",
	rule: "Declare fails with ErrDeclared if the group has the lock, and otherwise with ErrLimit if the group is full.",
	check: func(f *fixture) {
		s := f.open()
		d := f.declaration("room/a", lease)
		d.Limit = 1
		s.mustDeclareAs(d)
		s.declareFails(d, stores.ErrDeclared)
	},
}, {
	name: "each Declare has its own limit",
	rule: "Limit is the number of locks that the group may have including this one; zero or less is no limit.",
	check: func(f *fixture) {
		s := f.open()
		for i, limit := range []int{1, 0, -1, 4, math.MaxInt, math.MinInt} {
			d := f.declaration(nth("room/disk", i), lease)
			d.Limit = limit
			s.mustDeclareAs(d)
		}
		for _, limit := range []int{1, 5, 6} {
			d := f.declaration("room/one more", lease)
			d.Limit = limit
			s.declareFails(d, stores.ErrLimit)
		}
		s.mustGroupLen("room/", 6)
	},
}, {
	name: "a limit counts only declared locks of the group",
	rule: "Locks of other groups do not count towards the limit, and neither do held locks that are not declared.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclare("hall/a", "hall/b", "roomy/a")
		s.mustLock("room/a", "ann")
		s.mustDeclare("room/b")
		s.mustWithdraw("room/b")
		d := f.declaration("room/c", lease)
		d.Limit = 1
		s.mustDeclareAs(d)
	},
}}

// groupRows test Group.
var groupRows = []row{{
	name: "a group without locks is empty",
	rule: "Group of a group without locks returns no error.",
	check: func(f *fixture) {
		s := f.open()
		s.mustGroupLen("room/", 0)
		s.mustDeclare("room/disk")
		s.mustWithdraw("room/disk")
		s.mustGroupLen("room/", 0)
	},
}, {
	name: "a group is sorted by key",
	rule: groupRule,
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclare("room/ab", "room/b", "room/a", "room/B", "room/é", "room/a/b", "room/10", "room/9")
		s.mustLockMember("room/b", "ann")
		s.mustLockMember("room/10", "ann")
		var got []string
		for _, l := range s.group("room/") {
			got = append(got, l.Key)
		}
		want := []string{"room/10", "room/9", "room/B", "room/a", "room/a/b", "room/ab", "room/b", "room/é"}
		f.want(slices.Equal(got, want), "the group is %q, want %q", got, want)
	},
}, {
	name: "a group is complete",
	rule: groupRule + " It returns all locks, however many there are.",
	check: func(f *fixture) {
		want := make([]stores.LockInfo, 300)
		for i := range want {
			want[i] = freeLock(nth("room/disk", i))
		}
		s, other := f.open(), f.open()
		concurrently(len(want), func(i int) bool {
			pick(i, s, other).mustDeclare(want[i].Key)
			return true
		})
		for i := range want {
			if i%3 == 0 {
				want[i] = declaredLock(heldLock(want[i].Key, "ann", s.mustLockMember(want[i].Key, "ann")))
			}
		}
		other.mustGroup("room/", want...)
	},
}, {
	name: "a lock belongs to one group",
	rule: "A declared lock belongs to one group and does not exist for others, even if its key begins with their names.",
	check: func(f *fixture) {
		s := f.open()
		for group, name := range map[string]string{"r": "rest", "ro": "room", "room": "room/disk"} {
			s.mustDeclareAs(stores.Declaration{Group: f.key(group), Key: f.key(name), TTL: lease})
		}
		s.mustLock("room/gate", "ann")
		s.mustGroup("r", freeLock("rest"))
		s.mustGroup("ro", freeLock("room"))
		s.mustGroup("room", freeLock("room/disk"))
		s.mustGroupLen("room/", 0)
		s.withdrawFails("room/disk")
		s.lockMemberFails("room/disk", "ann", stores.ErrNotDeclared)
		s.mustGroup("room", freeLock("room/disk"))
	},
}, {
	name: "a group returns names unchanged",
	rule: "Groups, keys and owners are opaque and are returned unchanged.",
	check: func(f *fixture) {
		for _, n := range nameSets {
			if !n.nonUTF8 {
				checkGroupNames(f, n.names)
			}
		}
	},
}, {
	name:  "a group returns names of any bytes unchanged",
	rule:  "Groups, keys and owners are opaque and are returned unchanged.",
	needs: []string{needAnyBytes},
	check: func(f *fixture) {
		for _, n := range nameSets {
			if n.nonUTF8 {
				checkGroupNames(f, n.names)
			}
		}
	},
}}

// checkGroupNames declares a lock for each name in a group of the same name, acquires all
// of them, and withdraws them one by one.
func checkGroupNames(f *fixture, names []string) {
	s := f.open()
	member := func(name string) stores.Request {
		return stores.Request{Group: f.key(name), Key: f.key(name), Owner: name}
	}
	for _, name := range names {
		s.mustDeclareAs(stores.Declaration{Group: f.key(name), Key: f.key(name), TTL: lease, Limit: 1})
	}
	for _, name := range names {
		s.mustGroup(name, declaredLock(heldLock(name, name, s.mustLockRequest(member(name)))))
	}
	for _, name := range names {
		err := stores.Withdraw(f.ctx, s.Store, f.key(name), f.key(name))
		f.want(err == nil, "Withdraw of %q failed: %v", name, err)
		s.mustGroupLen(name, 0)
		s.unlockFails(name, name, stores.ErrNotHeld)
	}
}

// declaredListRows test List with declared locks.
var declaredListRows = []row{{
	name: "a list has free declared locks",
	rule: "List returns the locks under the prefix that are held or declared, sorted by key.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/b", "room/d", "roo/m", "hall/a")
		a := heldLock("room/a", "ann", s.mustLock("room/a", "ann"))
		c := heldLock("room/c", "ann", s.mustLock("room/c", "ann"))
		d := declaredLock(heldLock("room/d", "ann", s.mustLockMember("room/d", "ann")))
		f.wantLocks(other.list("room/"), []stores.LockInfo{a, freeLock("room/b"), c, d})
		other.mustList("", "hall/a", "roo/m", "room/a", "room/b", "room/c", "room/d")
		s.mustUnlock("room/d", "ann")
		s.mustUnlock("room/a", "ann")
		f.wantLocks(other.list("room/"), []stores.LockInfo{freeLock("room/b"), c, freeLock("room/d")})
		s.mustWithdraw("room/b")
		other.mustList("room/", "room/c", "room/d")
	},
}, {
	name: "a declared lock stays listed while its holder changes",
	rule: "A lock that is held or declared during the whole List is returned exactly once.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/a", "room/m", "room/z")
		withBackground(func() { lockAndUnlock(s, "room/m") }, func() {
			for range 20 {
				other.mustList("room/", "room/a", "room/m", "room/z")
				other.mustGroupLen("room/", 3)
			}
		})
	},
}, {
	name:  "a free lock is listed with its waiters",
	rule:  "A free lock has only a key, its declared TTL, and possibly waiters.",
	needs: []string{needMulti, needWait},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		s.mustLock("gate", "ann")
		bob := other.startWaitAll("bob", "gate", "room/disk")
		want := freeLock("room/disk")
		want.Waiters = 1
		s.mustGroup("room/", want)
		f.wantLocks(s.list("room/"), []stores.LockInfo{want})
		s.mustRefuseMember("room/disk", "carl")
		s.mustUnlock("gate", "ann")
		bob.mustGet()
	},
}}
