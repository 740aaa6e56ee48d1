package conformance

import (
	"context"
	"errors"

	"github.com/mortise-lock/mortise/stores"
)

// watchPrefixRows test the prefix of a watcher.
var watchPrefixRows = []row{{
	name: "a watcher sees only locks under its prefix",
	rule: "Watch covers the locks whose key starts with the prefix, including the key that equals it, and no others.",
	check: func(f *fixture) {
		s := f.open()
		a := heldLock("a", "ann", s.mustLock("a", "ann"))
		s.mustLock("b", "ann")
		w := f.open().mustWatch("a", a)
		slash := heldLock("a/1", "ann", s.mustLock("a/1", "ann"))
		s.mustLock("ba", "ann")
		s.mustLock("A", "ann")
		s.mustUnlock("b", "ann")
		s.mustUnlock("a", "ann")
		w.mustSee(stores.EventAcquired, slash)
		w.mustSee(stores.EventReleased, a)
		w.mustBeIdle()
	},
}, {
	name: "a watcher's prefix is not a pattern",
	rule: "Each character of a prefix is literal, including glob characters.",
	check: func(f *fixture) {
		s := f.open()
		for _, prefix := range []string{"*", "?", "[ab]", "[^a]", `\`, `\*`, "a*", "{a", "%", "_", ".*"} {
			axb := heldLock("axb", "ann", s.mustLock("axb", "ann"))
			w := s.mustWatch(prefix)
			s.mustUnlock(axb.Key, "ann")
			name := prefix + "b"
			l := heldLock(name, "ann", s.mustLock(name, "ann"))
			w.mustSee(stores.EventAcquired, l)
			s.mustUnlock(name, "ann")
			w.stop()
		}
	},
}, {
	name: "the empty prefix watches all locks",
	rule: "Every key starts with the empty prefix.",
	check: func(f *fixture) {
		s := f.open()
		disk := heldLock("disk", "ann", s.mustLock("disk", "ann"))
		w := s.startWatch("", nil)
		w.mustSnapshot(false, disk)
		gate := heldLock("gate", "ann", s.mustLock("gate", "ann"))
		w.mustSee(stores.EventAcquired, gate)
	},
}, {
	name: "a watcher receives names unchanged",
	rule: "Keys and owners are opaque and are returned unchanged.",
	check: func(f *fixture) {
		for _, n := range nameSets {
			if !n.nonUTF8 {
				checkWatchNames(f, n.names)
			}
		}
	},
}, {
	name:  "a watcher receives names of any bytes unchanged",
	rule:  "Keys and owners are opaque and are returned unchanged.",
	needs: []string{needAnyBytes},
	check: func(f *fixture) {
		for _, n := range nameSets {
			if n.nonUTF8 {
				checkWatchNames(f, n.names)
			}
		}
	},
}}

// noEventRows test calls that send no events.
var noEventRows = []row{{
	name: "refused calls send no event",
	rule: "Refused and failed calls change nothing and send no events.",
	check: func(f *fixture) {
		s := f.open()
		disk := heldLock("disk", "ann", s.mustLock("disk", "ann"))
		w := f.open().mustWatch("", disk)
		s.mustRefuse("disk", "bob")
		s.unlockFails("disk", "bob", stores.ErrNotOwner)
		s.unlockFails("gate", "ann", stores.ErrNotHeld)
		w.mustBeIdle()
	},
}, {
	name:  "renewals send no event",
	rule:  "Renewals send no events.",
	needs: []string{needRenew},
	check: func(f *fixture) {
		s := f.open()
		disk := heldLock("disk", "ann", s.mustLock("disk", "ann"))
		w := f.open().mustWatch("", disk)
		s.mustRenew("disk", "ann", lease)
		s.renewFails("disk", "bob", stores.ErrNotOwner)
		w.mustBeIdle()
	},
}, {
	name:  "waits send no event",
	rule:  "Starting and ending a wait sends no events.",
	needs: []string{needWait, needList},
	check: func(f *fixture) {
		s := f.open()
		disk := heldLock("disk", "ann", s.mustLock("disk", "ann"))
		w := f.open().mustWatch("", disk)
		s.startWait("disk", "bob").mustCancel()
		w.mustBeIdle()
	},
}, {
	name:  "a refused LockAll sends no event",
	rule:  "Refused and failed calls change nothing and send no events.",
	needs: []string{needMulti},
	check: func(f *fixture) {
		s := f.open()
		disk := heldLock("disk", "ann", s.mustLock("disk", "ann"))
		w := f.open().mustWatch("", disk)
		s.mustRefuseAll("bob", "gate", "disk", "hatch")
		w.mustBeIdle()
	},
}}

// watchEndRows test the end of a Watch.
var watchEndRows = []row{{
	name: "an error of the callback ends the watch",
	rule: "Watch runs until the callback returns an error, returns that error unchanged, and does not call the callback again.",
	check: func(f *fixture) {
		enough := errors.New("enough")
		for _, at := range []stores.EventKind{stores.EventSnapshot, stores.EventAcquired} {
			s := f.open()
			w := s.startWatch(f.key(""), func(e stores.Event) error {
				if e.Kind == at {
					return enough
				}
				return nil
			})
			w.mustSnapshot(false)
			if at == stores.EventAcquired {
				w.mustSee(at, heldLock("disk", "ann", s.mustLock("disk", "ann")))
			}
			w.mustFail(enough)
			unchanged := !w.returned() || w.err == enough //nolint:errorlint // the rule
			f.want(unchanged, "Watch returned %v, want the error unchanged", w.err)
			s.mustLock("gate", "ann")
			if e, ok := w.pop(); ok {
				f.failf("after its error a watcher received %+v", e)
			}
			s.mustUnlock("gate", "ann")
		}
	},
}, {
	name: "a watch ends with its ctx",
	rule: "Watch runs until ctx ends, and then fails with an error that wraps ctx.Err.",
	check: func(f *fixture) {
		s := f.open()
		w := s.mustWatch("")
		w.stop()
		w.mustFail(context.Canceled)
	},
}, {
	name: "closing a client ends only its own watches",
	rule: "Watch fails with ErrClosed if the client is closed meanwhile.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		w, stays := other.mustWatch(""), s.mustWatch("")
		f.want(other.Close() == nil, "Close failed")
		w.mustFail(stores.ErrClosed)
		stays.mustBeIdle()
	},
}, {
	name: "the callback may use the store",
	rule: "All methods are safe for concurrent use, including calls from the callback of Watch.",
	check: func(f *fixture) {
		s := f.open()
		w := s.startWatch(f.key("disk"), func(stores.Event) error {
			s.mustLock("gate", "ann")
			s.mustUnlock("gate", "ann")
			return nil
		})
		w.mustSnapshot(false)
		w.mustBeIdle()
	},
}, {
	name: "all watchers see all changes",
	rule: changeRule + " Every watcher receives all of them.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		watchers := []*watcher{s.mustWatch(""), s.mustWatch("di"), other.mustWatch(""), other.mustWatch("disk")}
		watchers[2].stop()
		for _, owner := range []string{"ann", "bob"} {
			l := heldLock("disk", owner, s.mustLock("disk", owner))
			s.mustUnlock("disk", owner)
			for _, i := range []int{0, 1, 3} {
				watchers[i].mustSee(stores.EventAcquired, l)
				watchers[i].mustSee(stores.EventReleased, l)
			}
		}
	},
}}

// returned reports whether Watch has returned.
func (w *watcher) returned() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// checkWatchNames acquires a lock for each name, as its key and its owner, and expects a
// watcher to see it.
func checkWatchNames(f *fixture, names []string) {
	s := f.open()
	w := s.mustWatch("")
	for _, name := range names {
		l := heldLock(name, name, s.mustLock(name, name))
		s.mustUnlock(name, name)
		w.mustSee(stores.EventAcquired, l)
		w.mustSee(stores.EventReleased, l)
	}
}
