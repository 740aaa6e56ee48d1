package conformance

import (
	"context"
	"errors"

	"github.com/mortise-lock/mortise/stores"
)

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
		w.sees(stores.EventAcquired, slash)
		w.sees(stores.EventReleased, a)
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
			w.sees(stores.EventAcquired, l)
			s.frees(name, "ann")
			w.stop()
		}
	},
}, {
	name: "the empty prefix watches everything",
	rule: "Every key starts with the empty prefix.",
	check: func(b *bench) {
		s := b.open()
		disk := held("disk", "ann", s.grants("disk", "ann"))
		w := s.looks("", nil)
		w.begins(false, disk)
		gate := held("gate", "ann", s.grants("gate", "ann"))
		w.sees(stores.EventAcquired, gate)
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
		disk := held("disk", "ann", s.grants("disk", "ann"))
		w := b.open().watches("", disk)
		s.refuses("disk", "bob")
		s.keeps("disk", "bob", stores.ErrNotOwner)
		s.keeps("gate", "ann", stores.ErrNotHeld)
		w.idles()
	},
}, {
	name:  "a watcher is told nothing of renewals",
	rule:  "Renewals are no events.",
	needs: []string{renewing},
	check: func(b *bench) {
		s := b.open()
		disk := held("disk", "ann", s.grants("disk", "ann"))
		w := b.open().watches("", disk)
		s.renews("disk", "ann", lease)
		s.lapses("disk", "bob", stores.ErrNotOwner)
		w.idles()
	},
}, {
	name:  "a watcher is told nothing of those who wait",
	rule:  "Waiters are no events.",
	needs: []string{waiting, listing},
	check: func(b *bench) {
		s := b.open()
		disk := held("disk", "ann", s.grants("disk", "ann"))
		w := b.open().watches("", disk)
		s.waits("disk", "bob").leaves()
		w.idles()
	},
}, {
	name:  "a watcher is told nothing of several locks that are refused",
	rule:  "What was refused is no change.",
	needs: []string{multi},
	check: func(b *bench) {
		s := b.open()
		disk := held("disk", "ann", s.grants("disk", "ann"))
		w := b.open().watches("", disk)
		s.refusesAll("bob", "gate", "disk", "hatch")
		w.idles()
	},
}}

// watchEndRows are about the end of a Watch.
var watchEndRows = []row{{
	name: "a watcher's error ends its watch",
	rule: "Watch runs until tell returns an error; that error is returned as it is, and tell is not called again.",
	check: func(b *bench) {
		enough := errors.New("enough")
		for _, at := range []stores.EventKind{stores.EventSnapshot, stores.EventAcquired} {
			s := b.open()
			w := s.looks(b.key(""), func(e stores.Event) error {
				if e.Kind == at {
					return enough
				}
				return nil
			})
			w.begins(false)
			if at == stores.EventAcquired {
				w.sees(at, held("disk", "ann", s.grants("disk", "ann")))
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
	name: "a watcher may use the store",
	rule: "All methods are safe for concurrent use, also from within tell.",
	check: func(b *bench) {
		s := b.open()
		w := s.looks(b.key("disk"), func(stores.Event) error {
			s.grants("gate", "ann")
			s.frees("gate", "ann")
			return nil
		})
		w.begins(false)
		w.idles()
	},
}, {
	name: "each watcher is told everything",
	rule: changeRule + " However many watch, each is told all.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		watchers := []*watcher{s.watches(""), s.watches("di"), other.watches(""), other.watches("disk")}
		watchers[2].stop()
		for _, owner := range []string{"ann", "bob"} {
			l := held("disk", owner, s.grants("disk", owner))
			s.frees("disk", owner)
			for _, i := range []int{0, 1, 3} {
				watchers[i].sees(stores.EventAcquired, l)
				watchers[i].sees(stores.EventReleased, l)
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

// watchNames takes a lock for each name, as its key and its owner, and expects a watcher
// to be told of it.
func watchNames(b *bench, names []string) {
	s := b.open()
	w := s.watches("")
	for _, name := range names {
		l := held(name, name, s.grants(name, name))
		s.frees(name, name)
		w.sees(stores.EventAcquired, l)
		w.sees(stores.EventReleased, l)
	}
}
