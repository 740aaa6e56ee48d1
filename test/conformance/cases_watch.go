package conformance

import (
	"slices"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// watchRows are about stores that implement stores.Watcher.
func watchRows() []row {
	return needing(slices.Concat(snapshotRows, changeRows, handOverRows, watchPrefixRows, silentRows, watchEndRows, watchRaceRows),
		watching)
}

const (
	snapshotRule = "Watch tells first a Snapshot of the held locks under the prefix, sorted by key, which has missed nothing."
	changeRule   = "Watch tells every change in the order in which they happened, with the lock as granted, or as it was before."
)

// snapshotRows are about what a watcher is told first.
var snapshotRows = []row{{
	name: "a watcher of nothing is first told so",
	rule: snapshotRule,
	check: func(b *bench) {
		b.open().watches("")
	},
}, {
	name: "a watcher is first told what is held",
	rule: snapshotRule,
	check: func(b *bench) {
		s := b.open()
		var want []stores.LockInfo
		for _, name := range []string{"ab", "b", "a", "B", "é", "a/b", "10"} {
			want = append(want, held(name, "owner of "+name, s.grants(name, "owner of "+name)))
		}
		slices.SortFunc(want, func(a, b stores.LockInfo) int { return slices.Compare([]byte(a.Key), []byte(b.Key)) })
		b.open().watches("", want...)
	},
}, {
	name: "a watcher is first told only what is still held",
	rule: snapshotRule,
	check: func(b *bench) {
		s := b.open()
		s.grantsFor("disk", "ann", b.short())
		s.grants("gate", "ann")
		s.frees("gate", "ann")
		hatch := held("hatch", "ann", s.grants("hatch", "ann"))
		b.expire(b.short())
		w := s.watches("", hatch)
		w.idles() // nor later of what was over before
	},
}, {
	name: "a watcher is first told of many locks",
	rule: snapshotRule,
	check: func(b *bench) {
		s := b.open()
		want := make([]stores.LockInfo, 300)
		together(len(want), func(i int) bool {
			want[i] = held(nth("disk", i), "ann", s.grants(nth("disk", i), "ann"))
			return true
		})
		s.watches("disk-", want...)
	},
}}

// changeRows are about what a watcher is told of a lock's life.
var changeRows = []row{{
	name: "a watcher is told who gets a lock and gives it back",
	rule: changeRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		w := other.watches("")
		for _, owner := range []string{"ann", "bob"} {
			l := held("disk", owner, s.grants("disk", owner))
			w.sees(stores.EventAcquired, l)
			s.frees("disk", owner)
			w.sees(stores.EventReleased, l)
		}
		w.idles()
	},
}, {
	name: "a watcher is told the metadata of a lock",
	rule: changeRule,
	check: func(b *bench) {
		s := b.open()
		req := b.request("disk", "ann", lease)
		req.Metadata = map[string]string{"host": "a", "鍵": ""}
		first := s.watches("")
		l := held("disk", "ann", s.grantsAs(req))
		l.Metadata = req.Metadata
		first.sees(stores.EventAcquired, l)
		second := b.open().watches("", l)
		s.frees("disk", "ann")
		first.sees(stores.EventReleased, l)
		second.sees(stores.EventReleased, l)
	},
}, {
	name: "a watcher is told of the end of a lock that it was first told",
	rule: changeRule,
	check: func(b *bench) {
		s := b.open()
		l := held("disk", "ann", s.grants("disk", "ann"))
		w := b.open().watches("", l)
		s.frees("disk", "ann")
		w.sees(stores.EventReleased, l)
	},
}, {
	name: "a watcher is told that a lock has expired",
	rule: changeRule + " That a TTL passes is a change, though nobody calls the store.",
	check: func(b *bench) {
		s := b.open()
		w := b.open().watches("")
		sent := time.Now()
		l := held("disk", "ann", s.grantsFor("disk", "ann", b.brief()))
		latest := time.Now().Add(b.brief())
		l.TTL = b.brief()
		w.sees(stores.EventAcquired, l)
		time.Sleep(time.Until(latest))
		w.sees(stores.EventExpired, l)
		b.want(!time.Now().Before(sent.Add(b.brief())), "EXPIRED was told before the end")
		w.idles()
	},
}, {
	name: "a watcher is told that a lock which it was first told has expired",
	rule: changeRule + " That a TTL passes is a change, though nobody calls the store.",
	check: func(b *bench) {
		s := b.open()
		l := held("disk", "ann", s.grantsFor("disk", "ann", b.ample()))
		w := b.open().looks(b.key(""), nil)
		if e := w.next(); len(e.Locks) == 0 {
			b.want(b.lapsed(), "the snapshot tells of no lock")
			return // the machine was too slow
		}
		time.Sleep(b.ample())
		l.TTL = b.ample()
		w.sees(stores.EventExpired, l)
	},
}, {
	name: "a watcher is told that a lock expired before another gets it",
	rule: changeRule,
	check: func(b *bench) {
		s := b.open()
		w := b.open().watches("")
		l := held("disk", "ann", s.grantsFor("disk", "ann", b.short()))
		l.TTL = b.short()
		b.expire(b.short())
		next := held("disk", "bob", s.grants("disk", "bob"))
		w.sees(stores.EventAcquired, l)
		w.sees(stores.EventExpired, l)
		w.sees(stores.EventAcquired, next)
	},
}, {
	name:  "a watcher is told that a lock was revoked",
	rule:  changeRule,
	needs: []string{revoking},
	check: func(b *bench) {
		s := b.open()
		w := b.open().watches("")
		for _, from := range []string{"ann", ""} {
			l := held("disk", "ann", s.grants("disk", "ann"))
			s.revokes("disk", from)
			w.sees(stores.EventAcquired, l)
			w.sees(stores.EventRevoked, l)
		}
	},
}, {
	name:  "a watcher is told of the end of a renewed lock",
	rule:  changeRule,
	needs: []string{renewing},
	check: func(b *bench) {
		s := b.open()
		w := b.open().watches("")
		l := held("disk", "ann", s.grantsFor("disk", "ann", b.ample()))
		l.TTL = b.ample()
		if _, err := s.renew("disk", "ann", b.ample()+b.brief()); err != nil {
			b.want(b.lapsed(), "Renew failed: %v", err)
			return // the machine was too slow
		}
		w.sees(stores.EventAcquired, l)
		time.Sleep(b.ample() + b.brief())
		e := w.next()
		b.want(e.Kind == stores.EventExpired && e.Lock.Owner == "ann" && e.Lock.Token == l.Token, "the end was told as %+v", e)
	},
}, {
	name:  "a watcher is told each of several locks",
	rule:  changeRule,
	needs: []string{multi},
	check: func(b *bench) {
		s := b.open()
		w := b.open().watches("")
		g := s.grantsAll("ann", "gate", "disk", "hatch")
		var got []stores.LockInfo
		for range 3 {
			e := w.next()
			b.want(e.Kind == stores.EventAcquired, "a watcher was told %v", e.Kind)
			got = append(got, e.Lock)
		}
		slices.SortFunc(got, func(a, b stores.LockInfo) int { return slices.Compare([]byte(a.Key), []byte(b.Key)) })
		want := []stores.LockInfo{held("disk", "ann", g), held("gate", "ann", g), held("hatch", "ann", g)}
		b.want(slices.EqualFunc(got, want, func(a, b stores.LockInfo) bool { return a.Key == b.Key && a.Token == b.Token && a.Owner == b.Owner }),
			"a watcher was told %+v, want %+v", got, want)
		s.frees("gate", "ann")
		w.sees(stores.EventReleased, want[1])
	},
}}

// handOverRows are about what a watcher is told when a lock goes to who waits for it.
var handOverRows = needing([]row{{
	name: "a watcher is told of both halves of a hand-over",
	rule: changeRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		w := b.open().watches("")
		ann := held("disk", "ann", s.grants("disk", "ann"))
		waiter := other.waits("disk", "bob")
		s.frees("disk", "ann")
		bob := held("disk", "bob", waiter.gets())
		w.sees(stores.EventAcquired, ann)
		w.sees(stores.EventReleased, ann)
		w.sees(stores.EventAcquired, bob)
		w.idles()
	},
}, {
	name:  "a watcher is told of a revocation before the next one gets the lock",
	rule:  changeRule,
	needs: []string{revoking},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		w := b.open().watches("")
		ann := held("disk", "ann", s.grants("disk", "ann"))
		waiter := other.waits("disk", "bob")
		s.revokes("disk", "ann")
		bob := held("disk", "bob", waiter.gets())
		w.sees(stores.EventAcquired, ann)
		w.sees(stores.EventRevoked, ann)
		w.sees(stores.EventAcquired, bob)
	},
}, {
	name: "a watcher is told of an expiry before the next one gets the lock",
	rule: changeRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		w := b.open().watches("")
		ann := held("disk", "ann", s.grantsFor("disk", "ann", b.ample()))
		ann.TTL = b.ample()
		waiter := other.waits("disk", "bob")
		waiter.returns(b.ample())
		bob := held("disk", "bob", waiter.gets())
		w.sees(stores.EventAcquired, ann)
		w.sees(stores.EventExpired, ann)
		w.sees(stores.EventAcquired, bob)
	},
}}, waiting, listing)
