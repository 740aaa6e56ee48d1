package conformance

import (
	"slices"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// watchRows are about stores that implement stores.Watcher.
func watchRows() []row {
	return withNeeds(slices.Concat(snapshotRows, changeRows, handoffRows, watchPrefixRows, noEventRows, watchEndRows, watchRaceRows),
		needWatch)
}

const (
	snapshotRule = "Watch tells first a Snapshot of the held locks under the prefix, sorted by key, which has missed nothing."
	changeRule   = "Watch tells every change in the order in which they happened, with the lock as granted, or as it was before."
)

// snapshotRows are about what a watcher is told first.
var snapshotRows = []row{{
	name: "a watcher of nothing is first told so",
	rule: snapshotRule,
	check: func(f *fixture) {
		f.open().mustWatch("")
	},
}, {
	name: "a watcher is first told what is held",
	rule: snapshotRule,
	check: func(f *fixture) {
		s := f.open()
		var want []stores.LockInfo
		for _, name := range []string{"ab", "b", "a", "B", "é", "a/b", "10"} {
			want = append(want, heldLock(name, "owner of "+name, s.mustLock(name, "owner of "+name)))
		}
		slices.SortFunc(want, func(a, b stores.LockInfo) int { return slices.Compare([]byte(a.Key), []byte(b.Key)) })
		f.open().mustWatch("", want...)
	},
}, {
	name: "a watcher is first told only what is still held",
	rule: snapshotRule,
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		s.mustLock("gate", "ann")
		s.mustUnlock("gate", "ann")
		hatch := heldLock("hatch", "ann", s.mustLock("hatch", "ann"))
		f.waitExpired(f.shortTTL())
		w := s.mustWatch("", hatch)
		w.mustBeIdle() // nor later of what was over before
	},
}, {
	name: "a watcher is first told of many locks",
	rule: snapshotRule,
	check: func(f *fixture) {
		s := f.open()
		want := make([]stores.LockInfo, 300)
		concurrently(len(want), func(i int) bool {
			want[i] = heldLock(nth("disk", i), "ann", s.mustLock(nth("disk", i), "ann"))
			return true
		})
		s.mustWatch("disk-", want...)
	},
}}

// changeRows are about what a watcher is told of a lock's life.
var changeRows = []row{{
	name: "a watcher is told who gets a lock and gives it back",
	rule: changeRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		w := other.mustWatch("")
		for _, owner := range []string{"ann", "bob"} {
			l := heldLock("disk", owner, s.mustLock("disk", owner))
			w.mustSee(stores.EventAcquired, l)
			s.mustUnlock("disk", owner)
			w.mustSee(stores.EventReleased, l)
		}
		w.mustBeIdle()
	},
}, {
	name: "a watcher is told the metadata of a lock",
	rule: changeRule,
	check: func(f *fixture) {
		s := f.open()
		req := f.request("disk", "ann", lease)
		req.Metadata = map[string]string{"host": "a", "鍵": ""}
		first := s.mustWatch("")
		l := heldLock("disk", "ann", s.mustLockRequest(req))
		l.Metadata = req.Metadata
		first.mustSee(stores.EventAcquired, l)
		second := f.open().mustWatch("", l)
		s.mustUnlock("disk", "ann")
		first.mustSee(stores.EventReleased, l)
		second.mustSee(stores.EventReleased, l)
	},
}, {
	name: "a watcher is told of the end of a lock that it was first told",
	rule: changeRule,
	check: func(f *fixture) {
		s := f.open()
		l := heldLock("disk", "ann", s.mustLock("disk", "ann"))
		w := f.open().mustWatch("", l)
		s.mustUnlock("disk", "ann")
		w.mustSee(stores.EventReleased, l)
	},
}, {
	name: "a watcher is told that a lock has expired",
	rule: changeRule + " That a TTL passes is a change, though nobody calls the store.",
	check: func(f *fixture) {
		s := f.open()
		w := f.open().mustWatch("")
		sent := time.Now()
		l := heldLock("disk", "ann", s.mustLockFor("disk", "ann", f.briefTTL()))
		latest := time.Now().Add(f.briefTTL())
		l.TTL = f.briefTTL()
		w.mustSee(stores.EventAcquired, l)
		time.Sleep(time.Until(latest))
		w.mustSee(stores.EventExpired, l)
		f.want(!time.Now().Before(sent.Add(f.briefTTL())), "EXPIRED was told before the end")
		w.mustBeIdle()
	},
}, {
	name: "a watcher is told that a lock which it was first told has expired",
	rule: changeRule + " That a TTL passes is a change, though nobody calls the store.",
	check: func(f *fixture) {
		s := f.open()
		l := heldLock("disk", "ann", s.mustLockFor("disk", "ann", f.ampleTTL()))
		w := f.open().startWatch(f.key(""), nil)
		if e := w.next(); len(e.Locks) == 0 {
			f.want(f.mayHaveExpired(), "the snapshot tells of no lock")
			return // the machine was too slow
		}
		time.Sleep(f.ampleTTL())
		l.TTL = f.ampleTTL()
		w.mustSee(stores.EventExpired, l)
	},
}, {
	name: "a watcher is told that a lock expired before another gets it",
	rule: changeRule,
	check: func(f *fixture) {
		s := f.open()
		w := f.open().mustWatch("")
		l := heldLock("disk", "ann", s.mustLockFor("disk", "ann", f.shortTTL()))
		l.TTL = f.shortTTL()
		f.waitExpired(f.shortTTL())
		next := heldLock("disk", "bob", s.mustLock("disk", "bob"))
		w.mustSee(stores.EventAcquired, l)
		w.mustSee(stores.EventExpired, l)
		w.mustSee(stores.EventAcquired, next)
	},
}, {
	name:  "a watcher is told that a lock was revoked",
	rule:  changeRule,
	needs: []string{needRevoke},
	check: func(f *fixture) {
		s := f.open()
		w := f.open().mustWatch("")
		for _, from := range []string{"ann", ""} {
			l := heldLock("disk", "ann", s.mustLock("disk", "ann"))
			s.mustRevoke("disk", from)
			w.mustSee(stores.EventAcquired, l)
			w.mustSee(stores.EventRevoked, l)
		}
	},
}, {
	name:  "a watcher is told of the end of a renewed lock",
	rule:  changeRule,
	needs: []string{needRenew},
	check: func(f *fixture) {
		s := f.open()
		w := f.open().mustWatch("")
		l := heldLock("disk", "ann", s.mustLockFor("disk", "ann", f.ampleTTL()))
		l.TTL = f.ampleTTL()
		if _, err := s.renew("disk", "ann", f.ampleTTL()+f.briefTTL()); err != nil {
			f.want(f.mayHaveExpired(), "Renew failed: %v", err)
			return // the machine was too slow
		}
		w.mustSee(stores.EventAcquired, l)
		time.Sleep(f.ampleTTL() + f.briefTTL())
		e := w.next()
		f.want(e.Kind == stores.EventExpired && e.Lock.Owner == "ann" && e.Lock.Token == l.Token, "the end was told as %+v", e)
	},
}, {
	name:  "a watcher is told each of several locks",
	rule:  changeRule,
	needs: []string{needMulti},
	check: func(f *fixture) {
		s := f.open()
		w := f.open().mustWatch("")
		g := s.mustLockAll("ann", "gate", "disk", "hatch")
		var got []stores.LockInfo
		for range 3 {
			e := w.next()
			f.want(e.Kind == stores.EventAcquired, "a watcher was told %v", e.Kind)
			got = append(got, e.Lock)
		}
		slices.SortFunc(got, func(a, b stores.LockInfo) int { return slices.Compare([]byte(a.Key), []byte(b.Key)) })
		want := []stores.LockInfo{heldLock("disk", "ann", g), heldLock("gate", "ann", g), heldLock("hatch", "ann", g)}
		f.want(slices.EqualFunc(got, want, func(a, b stores.LockInfo) bool { return a.Key == b.Key && a.Token == b.Token && a.Owner == b.Owner }),
			"a watcher was told %+v, want %+v", got, want)
		s.mustUnlock("gate", "ann")
		w.mustSee(stores.EventReleased, want[1])
	},
}}

// handOverRows are about what a watcher is told when a lock goes to who waits for it.
var handoffRows = withNeeds([]row{{
	name: "a watcher is told of both halves of a hand-over",
	rule: changeRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		w := f.open().mustWatch("")
		ann := heldLock("disk", "ann", s.mustLock("disk", "ann"))
		waiter := other.startWait("disk", "bob")
		s.mustUnlock("disk", "ann")
		bob := heldLock("disk", "bob", waiter.mustGet())
		w.mustSee(stores.EventAcquired, ann)
		w.mustSee(stores.EventReleased, ann)
		w.mustSee(stores.EventAcquired, bob)
		w.mustBeIdle()
	},
}, {
	name:  "a watcher is told of a revocation before the next one gets the lock",
	rule:  changeRule,
	needs: []string{needRevoke},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		w := f.open().mustWatch("")
		ann := heldLock("disk", "ann", s.mustLock("disk", "ann"))
		waiter := other.startWait("disk", "bob")
		s.mustRevoke("disk", "ann")
		bob := heldLock("disk", "bob", waiter.mustGet())
		w.mustSee(stores.EventAcquired, ann)
		w.mustSee(stores.EventRevoked, ann)
		w.mustSee(stores.EventAcquired, bob)
	},
}, {
	name: "a watcher is told of an expiry before the next one gets the lock",
	rule: changeRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		w := f.open().mustWatch("")
		ann := heldLock("disk", "ann", s.mustLockFor("disk", "ann", f.ampleTTL()))
		ann.TTL = f.ampleTTL()
		waiter := other.startWait("disk", "bob")
		waiter.waitReturn(f.ampleTTL())
		bob := heldLock("disk", "bob", waiter.mustGet())
		w.mustSee(stores.EventAcquired, ann)
		w.mustSee(stores.EventExpired, ann)
		w.mustSee(stores.EventAcquired, bob)
	},
}}, needWait, needList)
