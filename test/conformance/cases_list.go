package conformance

import (
	"errors"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// listRows test stores that implement stores.Lister.
func listRows() []row {
	return withNeeds(slices.Concat(listedRows, prefixRows, notListedRows), needList)
}

// listedRows test the held locks in a list.
var listedRows = []row{{
	name: "a list has a lock as it was granted",
	rule: "A lock is listed with its key, owner, token, TTL, and remaining time: positive, and at most the TTL.",
	check: func(f *fixture) {
		s := f.open()
		token := s.mustLock("disk", "ann").Token
		want := []stores.LockInfo{{Key: "disk", Owner: "ann", TTL: lease, Token: token}}
		f.wantLocks(f.open().list("disk"), want)
	},
}, {
	name:  "a list has a lock as it was renewed",
	rule:  "After a renewal a lock is listed with the TTL of the renewal and the token of the grant.",
	needs: []string{needRenew},
	check: func(f *fixture) {
		s := f.open()
		token := s.mustLock("disk", "ann").Token
		s.mustRenew("disk", "ann", lease/2)
		f.wantLocks(s.list("disk"), []stores.LockInfo{{Key: "disk", Owner: "ann", TTL: lease / 2, Token: token}})
	},
}, {
	name: "the remaining time decreases",
	rule: "Remaining is the time until the lock expires on the store's clock.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		f.sleep(f.shortTTL())
		for _, l := range s.list("disk") {
			f.want(l.Remaining <= lease-f.shortTTL(), "after %v of %v the remaining time is %v", f.shortTTL(), lease, l.Remaining)
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
	rule: "List returns all held locks, however many there are.",
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
	name: "a held lock stays listed while others come and go",
	rule: "Locks that are acquired or released during List may be missing; a lock held during the whole List is always returned.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("m", "ann")
		s.mustLock("z", "ann")
		withBackground(func() { lockAndUnlock(s, "a") }, func() {
			for range 20 {
				got := s.list("")
				listed := filter(got, func(l stores.LockInfo) bool { return l.Owner == "ann" })
				f.want(len(listed) == 2, "of 2 locks held during List %d are listed: %+v", len(listed), got)
			}
		})
	},
}}

// prefixRows test the prefix of a list.
var prefixRows = []row{{
	name: "a list has only locks under its prefix",
	rule: "List returns the locks whose key starts with the prefix, including the key that equals it, and no others.",
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
	name: "Get returns one lock",
	rule: "Get returns the lock with exactly that key, as List does, and fails with ErrNotHeld if the lock is free.",
	check: func(f *fixture) {
		s := f.open()
		token := s.mustLock("a/1", "ann").Token
		s.mustLock("a/10", "ben")
		l, err := stores.Get(f.ctx, s.Store, f.key("a/1"))
		f.want(err == nil, "Get failed: %v", err)
		f.want(l.Key == f.key("a/1") && l.Owner == "ann" && l.Token == token && l.Remaining > 0, "Get returned %+v", l)
		for _, name := range []string{"a", "a/", "a/11"} {
			_, err := stores.Get(f.ctx, s.Store, f.key(name))
			f.want(errors.Is(err, stores.ErrNotHeld), "Get of a free lock returned %v", err)
		}
	},
}, {
	name: "a prefix is not a pattern",
	rule: "Each character of a prefix is literal, including glob characters.",
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
	name: "the empty prefix lists all locks",
	rule: "Every key starts with the empty prefix.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		locks, err := stores.List(f.ctx, s.Store, "")
		f.want(err == nil, "List failed: %v", err)
		f.want(len(f.ownLocks(locks)) == 1, "the lock is not among the %d listed", len(locks))
	},
}, {
	name: "a list returns names unchanged",
	rule: "Keys and owners are opaque and are returned unchanged.",
	check: func(f *fixture) {
		for _, n := range nameSets {
			if !n.nonUTF8 {
				checkListNames(f, n.names)
			}
		}
	},
}, {
	name:  "a list returns names of any bytes unchanged",
	rule:  "Keys and owners are opaque and are returned unchanged.",
	needs: []string{needAnyBytes},
	check: func(f *fixture) {
		for _, n := range nameSets {
			if n.nonUTF8 {
				checkListNames(f, n.names)
			}
		}
	},
}}

// notListedRows test that free locks are not listed.
var notListedRows = []row{{
	name: "an empty list is not an error",
	rule: "List of a prefix without locks returns no locks and no error.",
	check: func(f *fixture) {
		f.open().mustList("disk")
	},
}, {
	name: "a released lock is not listed",
	rule: "List returns only held locks.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustLock("gate", "ann")
		s.mustUnlock("disk", "ann")
		s.mustList("", "gate")
	},
}, {
	name: "an expired lock is not listed",
	rule: "An expired lock is free for every call, whether or not the store has removed it.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		s.mustLock("gate", "ann")
		f.waitExpired(f.shortTTL())
		s.mustList("", "gate")
	},
}}

// wantLocks expects exactly the locks in want, with time remaining if they are held.
func (f *fixture) wantLocks(got, want []stores.LockInfo) {
	for i, l := range got {
		held := l.Owner != ""
		f.want((l.Remaining > 0) == held && l.Remaining >= 0 && l.Remaining <= l.TTL, "of a TTL of %v, %v remains", l.TTL, l.Remaining)
		got[i].Remaining = 0
		if len(l.Metadata) == 0 {
			got[i].Metadata = nil
		}
	}
	f.want(reflect.DeepEqual(got, want), "the list is %+v, want %+v", got, want)
}

// checkListNames acquires a lock for each name, as its key and its owner, and expects to
// find it in a list.
func checkListNames(f *fixture, names []string) {
	s := f.open()
	for _, name := range names {
		s.mustLock(name, name)
		found := slices.ContainsFunc(s.list(name), func(l stores.LockInfo) bool { return l.Key == name && l.Owner == name })
		f.want(found, "%q is not listed", name)
		s.mustUnlock(name, name)
	}
}

// lockAndUnlock acquires and releases a lock.
func lockAndUnlock(s store, name string) {
	s.mustLock(name, "passer-by")
	time.Sleep(time.Millisecond)
	s.mustUnlock(name, "passer-by")
}

// withBackground repeats background until f returns.
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
