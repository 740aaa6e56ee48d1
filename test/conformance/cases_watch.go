package conformance

import (
	"context"
	"errors"
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
		var want []stores.Lock
		for _, name := range []string{"ab", "b", "a", "B", "é", "a/b", "10"} {
			want = append(want, held(name, "owner of "+name, s.grants(name, "owner of "+name)))
		}
		slices.SortFunc(want, func(a, b stores.Lock) int { return slices.Compare([]byte(a.Key), []byte(b.Key)) })
		b.open().watches("", want...)
	},
}, {
	name: "a watcher is first told only what is still held",
	rule: snapshotRule,
	check: func(b *bench) {
		s := b.open()
		s.grantsFor("door", "ann", b.short())
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
		want := make([]stores.Lock, 300)
		together(len(want), func(i int) bool {
			want[i] = held(nth("door", i), "ann", s.grants(nth("door", i), "ann"))
			return true
		})
		s.watches("door-", want...)
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
			l := held("door", owner, s.grants("door", owner))
			w.sees(stores.Acquired, l)
			s.frees("door", owner)
			w.sees(stores.Released, l)
		}
		w.idles()
	},
}, {
	name: "a watcher is told the metadata of a lock",
	rule: changeRule,
	check: func(b *bench) {
		s := b.open()
		req := b.request("door", "ann", lease)
		req.Metadata = map[string]string{"host": "a", "鍵": ""}
		first := s.watches("")
		l := held("door", "ann", s.grantsAs(req))
		l.Metadata = req.Metadata
		first.sees(stores.Acquired, l)
		second := b.open().watches("", l)
		s.frees("door", "ann")
		first.sees(stores.Released, l)
		second.sees(stores.Released, l)
	},
}, {
	name: "a watcher is told of the end of a lock that it was first told",
	rule: changeRule,
	check: func(b *bench) {
		s := b.open()
		l := held("door", "ann", s.grants("door", "ann"))
		w := b.open().watches("", l)
		s.frees("door", "ann")
		w.sees(stores.Released, l)
	},
}, {
	name: "a watcher is told that a lock has expired",
	rule: changeRule + " That a TTL passes is a change, though nobody calls the store.",
	check: func(b *bench) {
		s := b.open()
		w := b.open().watches("")
		sent := time.Now()
		l := held("door", "ann", s.grantsFor("door", "ann", b.brief()))
		latest := time.Now().Add(b.brief())
		l.TTL = b.brief()
		w.sees(stores.Acquired, l)
		time.Sleep(time.Until(latest))
		w.sees(stores.Expired, l)
		b.want(!time.Now().Before(sent.Add(b.brief())), "EXPIRED was told before the end")
		w.idles()
	},
}, {
	name: "a watcher is told that a lock which it was first told has expired",
	rule: changeRule + " That a TTL passes is a change, though nobody calls the store.",
	check: func(b *bench) {
		s := b.open()
		l := held("door", "ann", s.grantsFor("door", "ann", b.ample()))
		w := b.open().looks(b.key(""), nil)
		if e := w.next(); len(e.Locks) == 0 {
			b.want(b.lapsed(), "the snapshot tells of no lock")
			return // the machine was too slow
		}
		time.Sleep(b.ample())
		l.TTL = b.ample()
		w.sees(stores.Expired, l)
	},
}, {
	name: "a watcher is told that a lock expired before another gets it",
	rule: changeRule,
	check: func(b *bench) {
		s := b.open()
		w := b.open().watches("")
		l := held("door", "ann", s.grantsFor("door", "ann", b.short()))
		l.TTL = b.short()
		b.expire(b.short())
		next := held("door", "bob", s.grants("door", "bob"))
		w.sees(stores.Acquired, l)
		w.sees(stores.Expired, l)
		w.sees(stores.Acquired, next)
	},
}, {
	name:  "a watcher is told that a lock was revoked",
	rule:  changeRule,
	needs: []string{revoking},
	check: func(b *bench) {
		s := b.open()
		w := b.open().watches("")
		for _, from := range []string{"ann", ""} {
			l := held("door", "ann", s.grants("door", "ann"))
			s.revokes("door", from)
			w.sees(stores.Acquired, l)
			w.sees(stores.Revoked, l)
		}
	},
}, {
	name:  "a watcher is told of the end of a renewed lock",
	rule:  changeRule,
	needs: []string{renewing},
	check: func(b *bench) {
		s := b.open()
		w := b.open().watches("")
		l := held("door", "ann", s.grantsFor("door", "ann", b.ample()))
		l.TTL = b.ample()
		if _, err := s.renew("door", "ann", b.ample()+b.brief()); err != nil {
			b.want(b.lapsed(), "Renew failed: %v", err)
			return // the machine was too slow
		}
		w.sees(stores.Acquired, l)
		time.Sleep(b.ample() + b.brief())
		e := w.next()
		b.want(e.Kind == stores.Expired && e.Lock.Owner == "ann" && e.Lock.Token == l.Token, "the end was told as %+v", e)
	},
}, {
	name:  "a watcher is told each of several locks",
	rule:  changeRule,
	needs: []string{multi},
	check: func(b *bench) {
		s := b.open()
		w := b.open().watches("")
		g := s.grantsAll("ann", "gate", "door", "hatch")
		var got []stores.Lock
		for range 3 {
			e := w.next()
			b.want(e.Kind == stores.Acquired, "a watcher was told %v", e.Kind)
			got = append(got, e.Lock)
		}
		slices.SortFunc(got, func(a, b stores.Lock) int { return slices.Compare([]byte(a.Key), []byte(b.Key)) })
		want := []stores.Lock{held("door", "ann", g), held("gate", "ann", g), held("hatch", "ann", g)}
		b.want(slices.EqualFunc(got, want, func(a, b stores.Lock) bool { return a.Key == b.Key && a.Token == b.Token && a.Owner == b.Owner }),
			"a watcher was told %+v, want %+v", got, want)
		s.frees("gate", "ann")
		w.sees(stores.Released, want[1])
	},
}}

// handOverRows are about what a watcher is told when a lock goes to who waits for it.
var handOverRows = needing([]row{{
	name: "a watcher is told of both halves of a hand-over",
	rule: changeRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		w := b.open().watches("")
		ann := held("door", "ann", s.grants("door", "ann"))
		waiter := other.waits("door", "bob")
		s.frees("door", "ann")
		bob := held("door", "bob", waiter.gets())
		w.sees(stores.Acquired, ann)
		w.sees(stores.Released, ann)
		w.sees(stores.Acquired, bob)
		w.idles()
	},
}, {
	name:  "a watcher is told of a revocation before the next one gets the lock",
	rule:  changeRule,
	needs: []string{revoking},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		w := b.open().watches("")
		ann := held("door", "ann", s.grants("door", "ann"))
		waiter := other.waits("door", "bob")
		s.revokes("door", "ann")
		bob := held("door", "bob", waiter.gets())
		w.sees(stores.Acquired, ann)
		w.sees(stores.Revoked, ann)
		w.sees(stores.Acquired, bob)
	},
}, {
	name: "a watcher is told of an expiry before the next one gets the lock",
	rule: changeRule,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		w := b.open().watches("")
		ann := held("door", "ann", s.grantsFor("door", "ann", b.ample()))
		ann.TTL = b.ample()
		waiter := other.waits("door", "bob")
		waiter.returns(b.ample())
		bob := held("door", "bob", waiter.gets())
		w.sees(stores.Acquired, ann)
		w.sees(stores.Expired, ann)
		w.sees(stores.Acquired, bob)
	},
}}, waiting, listing)

// watchPrefixRows are about which locks a watcher is told of.
var watchPrefixRows = []row{{
	name: "a watcher is told of the locks under its prefix",
	rule: "Watch is of the locks whose key starts with the prefix: the key that equals it too, and others not.",
	check: func(b *bench) {
		s := b.open()
		a := held("a", "ann", s.grants("a", "ann"))
		s.grants("b", "ann")
		w := b.open().watches("a", a)
		slash := held("a/1", "ann", s.grants("a/1", "ann"))
		s.grants("ba", "ann")
		s.grants("A", "ann")
		s.frees("b", "ann")
		s.frees("a", "ann")
		w.sees(stores.Acquired, slash)
		w.sees(stores.Released, a)
		w.idles()
	},
}, {
	name: "a watcher's prefix is no pattern",
	rule: "Each character of a prefix stands for itself, the glob characters too.",
	check: func(b *bench) {
		s := b.open()
		for _, prefix := range []string{"*", "?", "[ab]", "[^a]", `\`, `\*`, "a*", "{a", "%", "_", ".*"} {
			axb := held("axb", "ann", s.grants("axb", "ann"))
			w := s.watches(prefix)
			s.frees(axb.Key, "ann")
			name := prefix + "b"
			l := held(name, "ann", s.grants(name, "ann"))
			w.sees(stores.Acquired, l)
			s.frees(name, "ann")
			w.stop()
		}
	},
}, {
	name: "the empty prefix watches everything",
	rule: "Every key starts with the empty prefix.",
	check: func(b *bench) {
		s := b.open()
		door := held("door", "ann", s.grants("door", "ann"))
		w := s.looks("", nil)
		w.begins(false, door)
		gate := held("gate", "ann", s.grants("gate", "ann"))
		w.sees(stores.Acquired, gate)
	},
}, {
	name: "a watcher is told keys and owners as they were given",
	rule: "Keys and owners are opaque and come back as they are.",
	check: func(b *bench) {
		for _, n := range names {
			if !n.bytes {
				watchNames(b, n.these)
			}
		}
	},
}, {
	name:  "a watcher is told keys and owners of any bytes",
	rule:  "Keys and owners are opaque and come back as they are.",
	needs: []string{anyBytes},
	check: func(b *bench) {
		for _, n := range names {
			if n.bytes {
				watchNames(b, n.these)
			}
		}
	},
}}

// silentRows are about what a watcher is not told.
var silentRows = []row{{
	name: "a watcher is told nothing of what changes nothing",
	rule: "What was refused is no change.",
	check: func(b *bench) {
		s := b.open()
		door := held("door", "ann", s.grants("door", "ann"))
		w := b.open().watches("", door)
		s.refuses("door", "bob")
		s.keeps("door", "bob", stores.ErrNotOwner)
		s.keeps("gate", "ann", stores.ErrNotHeld)
		w.idles()
	},
}, {
	name:  "a watcher is told nothing of renewals",
	rule:  "Renewals are no events.",
	needs: []string{renewing},
	check: func(b *bench) {
		s := b.open()
		door := held("door", "ann", s.grants("door", "ann"))
		w := b.open().watches("", door)
		s.renews("door", "ann", lease)
		s.lapses("door", "bob", stores.ErrNotOwner)
		w.idles()
	},
}, {
	name:  "a watcher is told nothing of those who wait",
	rule:  "Waiters are no events.",
	needs: []string{waiting, listing},
	check: func(b *bench) {
		s := b.open()
		door := held("door", "ann", s.grants("door", "ann"))
		w := b.open().watches("", door)
		s.waits("door", "bob").leaves()
		w.idles()
	},
}, {
	name:  "a watcher is told nothing of several locks that are refused",
	rule:  "What was refused is no change.",
	needs: []string{multi},
	check: func(b *bench) {
		s := b.open()
		door := held("door", "ann", s.grants("door", "ann"))
		w := b.open().watches("", door)
		s.refusesAll("bob", "gate", "door", "hatch")
		w.idles()
	},
}}

// watchEndRows are about the end of a Watch.
var watchEndRows = []row{{
	name: "a watcher's error ends its watch",
	rule: "Watch runs until tell returns an error; that error is returned as it is, and tell is not called again.",
	check: func(b *bench) {
		enough := errors.New("enough")
		for _, at := range []stores.EventKind{stores.Snapshot, stores.Acquired} {
			s := b.open()
			w := s.looks(b.key(""), func(e stores.Event) error {
				if e.Kind == at {
					return enough
				}
				return nil
			})
			w.begins(false)
			if at == stores.Acquired {
				w.sees(at, held("door", "ann", s.grants("door", "ann")))
			}
			w.fails(enough)
			b.want(!w.returned() || w.err == enough, "Watch returned %v, want the error as it is", w.err) //nolint:errorlint // the rule
			s.grants("gate", "ann")
			if e, told := w.take(); told {
				b.failf("after its error a watcher was told %+v", e)
			}
			s.frees("gate", "ann")
		}
	},
}, {
	name: "a watch ends with its ctx",
	rule: "Watch runs until ctx ends, and then fails with an error that wraps ctx.Err.",
	check: func(b *bench) {
		s := b.open()
		w := s.watches("")
		w.stop()
		w.fails(context.Canceled)
	},
}, {
	name: "a closed client ends its watches and no others",
	rule: "Watch fails with ErrClosed if the store is closed meanwhile.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		w, stays := other.watches(""), s.watches("")
		b.want(other.Close() == nil, "Close failed")
		w.fails(stores.ErrClosed)
		stays.idles()
	},
}, {
	name: "each watcher is told everything",
	rule: changeRule + " However many watch, each is told all.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		watchers := []*watcher{s.watches(""), s.watches("do"), other.watches(""), other.watches("door")}
		watchers[2].stop()
		for _, owner := range []string{"ann", "bob"} {
			l := held("door", owner, s.grants("door", owner))
			s.frees("door", owner)
			for _, i := range []int{0, 1, 3} {
				watchers[i].sees(stores.Acquired, l)
				watchers[i].sees(stores.Released, l)
			}
		}
	},
}}

// returned tells whether Watch has returned.
func (w *watcher) returned() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// watchNames takes a lock for each name, as its key and its owner, and expects a watcher to be told of it.
func watchNames(b *bench, names []string) {
	s := b.open()
	w := s.watches("")
	for _, name := range names {
		l := held(name, name, s.grants(name, name))
		s.frees(name, name)
		w.sees(stores.Acquired, l)
		w.sees(stores.Released, l)
	}
}
