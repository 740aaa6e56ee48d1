package conformance

import (
	"slices"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// watchRows test stores that implement stores.Watcher.
func watchRows() []row {
	return withNeeds(slices.Concat(snapshotRows, changeRows, handoffRows, watchPrefixRows, noEventRows, watchEndRows, watchRaceRows),
		needWatch)
}

const (
	snapshotRule = "Watch first sends a snapshot of the held locks under the prefix, sorted by key, with Missed false."
	changeRule   = "Watch sends every change in order, with the lock as granted, or as it was before it became free."
)

// snapshotRows test the first event of a watcher.
var snapshotRows = []row{{
	name: "an empty snapshot is sent too",
	rule: snapshotRule,
	check: func(f *fixture) {
		f.open().mustWatch("")
	},
}, {
	name: "a snapshot has the held locks",
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
	name: "a snapshot has no free locks",
	rule: snapshotRule,
	check: func(f *fixture) {
		s := f.open()
		s.mustLockFor("disk", "ann", f.shortTTL())
		s.mustLock("gate", "ann")
		s.mustUnlock("gate", "ann")
		hatch := heldLock("hatch", "ann", s.mustLock("hatch", "ann"))
		f.waitExpired(f.shortTTL())
		w := s.mustWatch("", hatch)
		w.mustBeIdle() // and no later events of locks that were free before
	},
}, {
	name: "a snapshot may have many locks",
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

// changeRows test the events of a lock's life.
var changeRows = []row{{
	name: "a watcher sees grants and releases",
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
	name: "a watcher sees the metadata of a lock",
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
	name: "a watcher sees the release of a lock in the snapshot",
	rule: changeRule,
	check: func(f *fixture) {
		s := f.open()
		l := heldLock("disk", "ann", s.mustLock("disk", "ann"))
		w := f.open().mustWatch("", l)
		s.mustUnlock("disk", "ann")
		w.mustSee(stores.EventReleased, l)
	},
}, {
	name: "a watcher sees a lock expire",
	rule: changeRule + " The end of a TTL is a change without a call.",
	check: func(f *fixture) {
		s := f.open()
		w := f.open().mustWatch("")
		sent := time.Now()
		l := heldLock("disk", "ann", s.mustLockFor("disk", "ann", f.briefTTL()))
		latest := time.Now().Add(f.briefTTL())
		l.TTL = f.briefTTL()
		w.mustSee(stores.EventAcquired, l)
		f.sleepUntil(latest)
		w.mustSee(stores.EventExpired, l)
		f.want(!time.Now().Before(sent.Add(f.briefTTL())), "EXPIRED was sent before the lease ended")
		w.mustBeIdle()
	},
}, {
	name: "a watcher sees a lock in the snapshot expire",
	rule: changeRule + " The end of a TTL is a change without a call.",
	check: func(f *fixture) {
		s := f.open()
		l := heldLock("disk", "ann", s.mustLockFor("disk", "ann", f.ampleTTL()))
		w := f.open().startWatch(f.key(""), nil)
		if e := w.next(); len(e.Locks) == 0 {
			f.want(f.mayHaveExpired(), "the snapshot is empty")
			return // the machine was too slow
		}
		f.sleep(f.ampleTTL())
		l.TTL = f.ampleTTL()
		w.mustSee(stores.EventExpired, l)
	},
}, {
	name: "a watcher sees a lock expire before the next grant",
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
	name:  "a watcher sees a lock revoked",
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
	name:  "a watcher sees a renewed lock expire",
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
		f.sleep(f.ampleTTL() + f.briefTTL())
		e := w.next()
		f.want(e.Kind == stores.EventExpired && e.Lock.Owner == "ann" && e.Lock.Token == l.Token, "the lock ended with %+v", e)
	},
}, {
	name:  "a watcher sees each of several locks",
	rule:  changeRule,
	needs: []string{needMulti},
	check: func(f *fixture) {
		s := f.open()
		w := f.open().mustWatch("")
		g := s.mustLockAll("ann", "gate", "disk", "hatch")
		var got []stores.LockInfo
		for range 3 {
			e := w.next()
			f.want(e.Kind == stores.EventAcquired, "a watcher received %v", e.Kind)
			got = append(got, e.Lock)
		}
		slices.SortFunc(got, func(a, b stores.LockInfo) int { return slices.Compare([]byte(a.Key), []byte(b.Key)) })
		want := []stores.LockInfo{heldLock("disk", "ann", g), heldLock("gate", "ann", g), heldLock("hatch", "ann", g)}
		f.want(slices.EqualFunc(got, want, func(a, b stores.LockInfo) bool { return a.Key == b.Key && a.Token == b.Token && a.Owner == b.Owner }),
			"a watcher received %+v, want %+v", got, want)
		s.mustUnlock("gate", "ann")
		w.mustSee(stores.EventReleased, want[1])
	},
}}

// handoffRows test the events when a lock is granted to a waiter.
var handoffRows = withNeeds([]row{{
	name: "a watcher sees a release before the waiter's grant",
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
	name:  "a watcher sees a revocation before the waiter's grant",
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
	name: "a watcher sees an expiry before the waiter's grant",
	rule: changeRule,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		w := f.open().mustWatch("")
		ann := heldLock("disk", "ann", s.mustLockFor("disk", "ann", f.ampleTTL()))
		ann.TTL = f.ampleTTL()
		waiter := other.startWait("disk", "bob")
		f.expectExpiry(time.Now().Add(f.ampleTTL()))
		waiter.waitReturn(f.ampleTTL())
		bob := heldLock("disk", "bob", waiter.mustGet())
		w.mustSee(stores.EventAcquired, ann)
		w.mustSee(stores.EventExpired, ann)
		w.mustSee(stores.EventAcquired, bob)
	},
}}, needWait, needList)
