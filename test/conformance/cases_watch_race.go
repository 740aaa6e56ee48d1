package conformance

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// flood is how many changes are more than any store keeps for a slow watcher, and any
// connection under way to it.
const flood = 12_000

// watchRaceRows are about watching while much happens at once.
var watchRaceRows = []row{{
	name:  "a watcher knows the state, whenever it began",
	rule:  "Applied to the snapshot, the events give the state: there is no gap between them, and nothing is told twice.",
	needs: []string{listing},
	awake: true,
	check: func(b *bench) {
		b.knowAll("disk", b.stir)
	},
}, {
	name: "revisions never fall",
	rule: "Revision numbers the states of the storage. It never falls from one event to the next.",
	check: func(b *bench) {
		s := b.open()
		w := s.looks(b.key(""), nil)
		r := &replay{b: b}
		r.apply(w.next())
		for i := range 5 {
			s.grants(nth("disk", i), "ann")
			r.apply(w.next())
			s.frees(nth("disk", i), "ann")
			r.apply(w.next())
		}
		s.grantsFor("gate", "ann", b.short())
		r.apply(w.next())
		b.expire(b.short())
		r.apply(w.next())
	},
}, {
	name: "a watcher that falls behind is told that it missed something",
	rule: "If tell is slow, some thousand events are kept. If it falls further behind, it is told by a Snapshot that has Missed " +
		"set, and never by a gap.",
	needs: []string{listing},
	awake: true,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		asleep := make(chan struct{})
		wake := sync.OnceFunc(func() { close(asleep) })
		b.cleanup(wake) // a row that fails leaves nobody behind
		w := other.looks(b.key("disk"), func(stores.Event) error {
			<-asleep
			return nil
		})
		r := &replay{b: b}
		r.apply(w.next())
		s.grants("disk", "ann")
		if b.declares([]string{declaring}) {
			s.declares("disk/declared")
		}
		together(16, func(i int) bool {
			name := nth("disk"+long("")[:800], i)
			for range flood / 2 / 16 {
				s.grants(name, "ann")
				s.frees(name, "ann")
			}
			return true
		})
		wake()
		s.grants("disk/end", "end")
		r.follow(w, "disk/end")
		b.want(r.missed, "a watcher that missed most of %d changes was not told so", flood)
		r.equals(w, s.list("disk"))
		s.frees("disk/end", "end")
		w.sees(stores.EventReleased, r.locks["disk/end"])
	},
}, {
	name:  "a watcher that is a little slow misses nothing",
	rule:  "If tell is slow, some thousand events are kept for it, and told in their order.",
	awake: true,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		asleep := make(chan struct{})
		wake := sync.OnceFunc(func() { close(asleep) })
		b.cleanup(wake)
		w := other.looks(b.key("disk"), func(stores.Event) error {
			<-asleep
			return nil
		})
		w.begins(false)
		var tokens []uint64
		for range 400 {
			tokens = append(tokens, s.grants("disk", "ann").Token)
			s.frees("disk", "ann")
		}
		wake()
		for _, token := range tokens {
			l := held("disk", "ann", stores.Grant{Token: token})
			w.sees(stores.EventAcquired, l)
			w.sees(stores.EventReleased, l)
		}
	},
}, {
	name: "a watcher is told by one at a time",
	rule: "tell is called by one goroutine at a time.",
	check: func(b *bench) {
		s := b.open()
		w := b.open().looks(b.key(""), func(stores.Event) error {
			time.Sleep(time.Millisecond)
			return nil
		})
		w.begins(false)
		for i := range 5 {
			s.grants(nth("disk", i), "ann")
		}
		time.Sleep(10 * time.Millisecond)
		for range 5 {
			w.next()
		}
	},
}}

// knowAll lets watchers begin one after the other while the locks under the prefix are
// stirred, and expects each to know in the end what is listed.
func (b *bench) knowAll(prefix string, stir func(s, other store)) {
	s, other := b.open(), b.open()
	var watchers []*watcher
	during(func() { stir(s, other) }, func() {
		for i := range 8 {
			watchers = append(watchers, pick(i, s, other).looks(b.key(prefix), nil))
			time.Sleep(time.Duration(i) * time.Millisecond)
		}
	})
	b.expire(b.short())
	end := prefix + "/end"
	s.grants(end, "end")
	for _, w := range watchers {
		r := &replay{b: b}
		r.follow(w, end)
		r.equals(w, s.list(prefix))
	}
}

// stir changes some of a few locks at random, through both clients at once.
func (b *bench) stir(s, other store) {
	together(4, func(i int) bool {
		client, owner := pick(i, s, other), nth("owner", i)
		for range 10 {
			name := nth("disk", rand.IntN(4))
			ttl := pick(rand.IntN(2), b.short(), lease)
			_, err := client.tryLock(name, owner, ttl)
			b.want(err == nil, "TryLock failed: %v", err)
			switch rand.IntN(4) {
			case 0:
				_ = client.unlock(name, owner)
			case 1:
				_ = client.unlock(name, nth("owner", rand.IntN(4)))
			case 2:
				if b.declares([]string{revoking}) {
					_ = client.revoke(name, "")
				}
			}
		}
		return true
	})
}
