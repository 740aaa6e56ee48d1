package conformance

import (
	"errors"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// listRows are about stores that implement stores.Lister.
func listRows() []row {
	return withNeeds(slices.Concat(listedRows, prefixRows, notListedRows), needList)
}

// listedRows are about what a list tells of the locks that are held.
var listedRows = []row{{
	name: "a list tells a lock as it was granted",
	rule: "A row has the lock's key, owner, token and TTL, and the time left: positive, and no more than the TTL.",
	check: func(f *fixture) {
		s := f.open()
		token := s.mustLock("disk", "ann").Token
		want := []stores.LockInfo{{Key: "disk", Owner: "ann", TTL: lease, Token: token}}
		f.wantLocks(f.open().list("disk"), want)
	},
}, {
	name:  "a list tells a lock as it was renewed",
	rule:  "After a renewal a row has the TTL of the renewal and the token of the grant.",
	needs: []string{needRenew},
	check: func(f *fixture) {
		s := f.open()
		token := s.mustLock("disk", "ann").Token
		s.mustRenew("disk", "ann", lease/2)
		f.wantLocks(s.list("disk"), []stores.LockInfo{{Key: "disk", Owner: "ann", TTL: lease / 2, Token: token}})
	},
}, {
	name: "the time left runs down",
	rule: "Remaining is the time until the lock expires on the store's clock.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		time.Sleep(f.shortTTL())
		for _, l := range s.list("disk") {
			f.want(l.Remaining <= lease-f.shortTTL(), "after %v of %v %v are left", f.shortTTL(), lease, l.Remaining)
		}
		s.mustList("disk", "disk")
	},
}, {
	name: "a list is sorted by key",
	rule: "List returns the locks sorted by key, byte by byte.",
	check: func(f *fixture) {
		s := f.open()
		for _, name := range []string{"ab", "b", "a", "B", "é", "a/b", "10", "9"} {
			s.mustLock(name, "ann")
		}
		s.mustList("", "10", "9", "B", "a", "a/b", "ab", "b", "é")
	},
}, {
	name: "a list is complete",
	rule: "List returns all locks that are held, however many there are.",
	check: func(f *fixture) {
		var names []string
		for i := range 500 {
			names = append(names, nth("disk", i))
		}
		s := f.open()
		concurrently(len(names), func(i int) bool { return s.mustLock(names[i], "ann").Acquired })
		s.mustList("disk-", names...)
	},
}, {
	name: "a lock held throughout is told while others come and go",
	rule: "Locks that change hands during List may be missing; a lock held throughout is always told.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("m", "ann")
		s.mustLock("z", "ann")
		withBackground(func() { lockAndUnlock(s, "a") }, func() {
			for range 20 {
				got := s.list("")
				told := filter(got, func(l stores.LockInfo) bool { return l.Owner == "ann" })
				f.want(len(told) == 2, "of 2 locks held throughout %d are told, %+v", len(told), got)
			}
		})
	},
}}

// prefixRows are about which locks a list is of.
var prefixRows = []row{{
	name: "a list is of the locks under a prefix",
	rule: "List returns the locks whose key starts with the prefix: the key that equals it too, and others not.",
	check: func(f *fixture) {
		s := f.open()
		for _, name := range []string{"a", "a/1", "a/2", "ab", "b", "ba/1"} {
			s.mustLock(name, "ann")
		}
		s.mustList("a", "a", "a/1", "a/2", "ab")
		s.mustList("a/", "a/1", "a/2")
		s.mustList("b", "b", "ba/1")
	},
}, {
	name: "a look-up is of one lock",
	rule: "Get returns the lock whose key it is, as List does, and fails with ErrNotHeld if that is free.",
	check: func(f *fixture) {
		s := f.open()
		token := s.mustLock("a/1", "ann").Token
		s.mustLock("a/10", "ben")
		l, err := stores.Get(f.ctx, s.Store, f.key("a/1"))
		f.want(err == nil, "Get failed: %v", err)
		f.want(l.Key == f.key("a/1") && l.Owner == "ann" && l.Token == token && l.Remaining > 0, "Get returned %+v", l)
		for _, name := range []string{"a", "a/", "a/11"} {
			_, err := stores.Get(f.ctx, s.Store, f.key(name))
			f.want(errors.Is(err, stores.ErrNotHeld), "Get of a free lock: %v", err)
		}
	},
}, {
	name: "a prefix is no pattern",
	rule: "Each character of a prefix stands for itself, the glob characters too.",
	check: func(f *fixture) {
		s := f.open()
		names := []string{"*", "?", "[ab]x", "[^a]x", `\*`, `\`, "a*b", "a?b", "axb", "ax", "bx", "{a,b}"}
		for _, name := range names {
			s.mustLock(name, "ann")
		}
		for _, prefix := range []string{"*", "?", "[", "[ab]", "[^a]", `\`, `\*`, "a*", "a?", "{a", "%", "_"} {
			under := filter(names, func(name string) bool { return len(name) >= len(prefix) && name[:len(prefix)] == prefix })
			slices.Sort(under)
			s.mustList(prefix, under...)
		}
	},
}, {
	name: "the empty prefix lists everything",
	rule: "Every key starts with the empty prefix.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		locks, err := stores.List(f.ctx, s.Store, "")
		f.want(err == nil, "List failed: %v", err)
		f.want(len(f.ownLocks(locks)) == 1, "the lock is not among %d", len(locks))
	},
}, {
	name: "a list has keys and owners as they were given",
	rule: "Keys and owners are opaque and come back as they are.",
	check: func(f *fixture) {
		for _, n := range nameSets {
			if !n.bytes {
				checkListNames(f, n.these)
			}
		}
	},
}, {
	name:  "a list has keys and owners of any bytes",
	rule:  "Keys and owners are opaque and come back as they are.",
	needs: []string{needAnyBytes},
	check: func(f *fixture) {
		for _, n := range nameSets {
			if n.bytes {
				checkListNames(f, n.these)
			}
		}
	},
}}

// unlistedRows are about locks that are not held.
var notListedRows = []row{{
	name: "an empty list is no error",
	rule: "List of a prefix without locks returns no rows and no error.",
	check: func(f *fixture) {
		f.open().mustList("disk")
	},
}, {
	name: "a lock that was given back is not listed",
	rule: "List returns the locks that are held.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustLock("gate", "ann")
		s.mustUnlock("disk", "ann")
		s.mustList("", "gate")
	},
}, {
	name: "an expired lock is not listed",
	rule: "An expired lock is not held by anybody, for every call, whether or not the store has cleaned it up.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		s.mustLock("gate", "ann")
		f.waitExpired(f.shortTTL())
		s.mustList("", "gate")
	},
}}

// tells expects the locks wanted, with time left if they are held.
func (f *fixture) wantLocks(got, want []stores.LockInfo) {
	for i, l := range got {
		held := l.Owner != ""
		f.want((l.Remaining > 0) == held && l.Remaining >= 0 && l.Remaining <= l.TTL, "of %v %v are left", l.TTL, l.Remaining)
		got[i].Remaining = 0
		if len(l.Metadata) == 0 {
			got[i].Metadata = nil
		}
	}
	f.want(reflect.DeepEqual(got, want), "the list is %+v, want %+v", got, want)
}

// listNames takes a lock for each name, as its key and its owner, and expects to find it
// in a list.
func checkListNames(f *fixture, names []string) {
	s := f.open()
	for _, name := range names {
		s.mustLock(name, name)
		found := slices.ContainsFunc(s.list(name), func(l stores.LockInfo) bool { return l.Key == name && l.Owner == name })
		f.want(found, "%q is not listed", name)
		s.mustUnlock(name, name)
	}
}

// comeAndGo takes a lock and gives it back.
func lockAndUnlock(s store, name string) {
	s.mustLock(name, "passer-by")
	time.Sleep(time.Millisecond)
	s.mustUnlock(name, "passer-by")
}

// during repeats background until f returns.
func withBackground(background, f func()) {
	var done sync.WaitGroup
	stop := make(chan struct{})
	done.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				background()
			}
		}
	})
	f()
	close(stop)
	done.Wait()
}
