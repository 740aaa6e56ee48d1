package conformance

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// overflowChanges is more changes than any store and connection buffer for a slow
// watcher.
const overflowChanges = 12_000

// watchRaceRows test watchers during concurrent calls.
var watchRaceRows = []row{{
	name:      "watchers agree with the list",
	rule:      "The events, applied to the snapshot, give the state: no change is missing between them, and none is sent twice.",
	needs:     []string{needList},
	realClock: true,
	check: func(f *fixture) {
		f.checkReplays("disk", f.changeLocks)
	},
}, {
	name: "revisions never decrease",
	rule: "Revision numbers the states of the storage. It never decreases from one event to the next.",
	check: func(f *fixture) {
		s := f.open()
		w := s.startWatch(f.key(""), nil)
		r := &replay{f: f}
		r.apply(w.next())
		for i := range 5 {
			s.mustLock(nth("disk", i), "ann")
			r.apply(w.next())
			s.mustUnlock(nth("disk", i), "ann")
			r.apply(w.next())
		}
		s.mustLockFor("gate", "ann", f.shortTTL())
		r.apply(w.next())
		f.waitExpired(f.shortTTL())
		r.apply(w.next())
	},
}, {
	name: "a slow watcher learns that it missed events",
	rule: "Some thousand events are buffered for a slow callback. After more, Watch sends a snapshot with Missed " +
		"set, and never leaves a gap.",
	needs:     []string{needList},
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		blocked := make(chan struct{})
		unblock := sync.OnceFunc(func() { close(blocked) })
		f.cleanup(unblock) // ends the callback if the row fails
		w := other.startWatch(f.key("disk"), func(stores.Event) error {
			<-blocked
			return nil
		})
		r := &replay{f: f}
		r.apply(w.next())
		s.mustLock("disk", "ann")
		if f.declares([]string{needDeclare}) {
			s.mustDeclare("disk/declared")
		}
		concurrently(16, func(i int) bool {
			name := nth("disk"+longName("")[:800], i)
			for range overflowChanges / 2 / 16 {
				s.mustLock(name, "ann")
				s.mustUnlock(name, "ann")
			}
			return true
		})
		unblock()
		s.mustLock("disk/end", "end")
		r.follow(w, "disk/end")
		f.want(r.missed, "a watcher that missed most of %d changes received no snapshot with Missed set", overflowChanges)
		r.wantEqual(w, s.list("disk"))
		s.mustUnlock("disk/end", "end")
		w.mustSee(stores.EventReleased, r.locks["disk/end"])
	},
}, {
	name:      "a slightly slow watcher misses nothing",
	rule:      "Some thousand events are buffered for a slow callback, and sent in order.",
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		blocked := make(chan struct{})
		unblock := sync.OnceFunc(func() { close(blocked) })
		f.cleanup(unblock)
		w := other.startWatch(f.key("disk"), func(stores.Event) error {
			<-blocked
			return nil
		})
		w.mustSnapshot(false)
		var tokens []uint64
		for range 400 {
			tokens = append(tokens, s.mustLock("disk", "ann").Token)
			s.mustUnlock("disk", "ann")
		}
		unblock()
		for _, token := range tokens {
			l := heldLock("disk", "ann", stores.Grant{Token: token})
			w.mustSee(stores.EventAcquired, l)
			w.mustSee(stores.EventReleased, l)
		}
	},
}, {
	name: "the callback is not called concurrently",
	rule: "The callback is called by one goroutine at a time.",
	check: func(f *fixture) {
		s := f.open()
		w := f.open().startWatch(f.key(""), func(stores.Event) error {
			time.Sleep(time.Millisecond)
			return nil
		})
		w.mustSnapshot(false)
		for i := range 5 {
			s.mustLock(nth("disk", i), "ann")
		}
		time.Sleep(10 * time.Millisecond)
		for range 5 {
			w.next()
		}
	},
}}

// checkReplays starts watchers one after the other while change runs, and expects the
// final state of each to equal the list.
func (f *fixture) checkReplays(prefix string, change func(s, other store)) {
	s, other := f.open(), f.open()
	var watchers []*watcher
	withBackground(func() { change(s, other) }, func() {
		for i := range 8 {
			watchers = append(watchers, pick(i, s, other).startWatch(f.key(prefix), nil))
			time.Sleep(time.Duration(i) * time.Millisecond)
		}
	})
	f.waitExpired(f.shortTTL())
	end := prefix + "/end"
	s.mustLock(end, "end")
	for _, w := range watchers {
		r := &replay{f: f}
		r.follow(w, end)
		r.wantEqual(w, s.list(prefix))
	}
}

// changeLocks acquires and releases locks at random, concurrently through both clients.
func (f *fixture) changeLocks(s, other store) {
	concurrently(4, func(i int) bool {
		client, owner := pick(i, s, other), nth("owner", i)
		for range 10 {
			name := nth("disk", rand.IntN(4))
			ttl := pick(rand.IntN(2), f.shortTTL(), lease)
			_, err := client.tryLock(name, owner, ttl)
			f.want(err == nil, "TryLock failed: %v", err)
			switch rand.IntN(4) {
			case 0:
				_ = client.unlock(name, owner)
			case 1:
				_ = client.unlock(name, nth("owner", rand.IntN(4)))
			case 2:
				if f.declares([]string{needRevoke}) {
					_ = client.revoke(name, "")
				}
			}
		}
		return true
	})
}
