package conformance

import (
	"math/rand/v2"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// declaredWatchRows are about what a watcher is told of declared locks.
var declaredWatchRows = []row{{
	name: "a watcher is first told what is declared",
	rule: "Watch tells first a Snapshot of the locks that List would return: held or declared, sorted by key.",
	check: func(b *bench) {
		s := b.open()
		s.declares("room/d", "room/b", "hall/a")
		a := held("room/a", "ann", s.grants("room/a", "ann"))
		d := declared(held("room/d", "ann", s.admits("room/d", "ann")))
		w := b.open().watches("room/", a, free("room/b"), d)
		s.frees("room/a", "ann")
		w.sees(stores.EventReleased, a)
	},
}, {
	name: "a watcher is told what is declared and withdrawn",
	rule: "Watch tells DECLARED of a lock as it has become, and WITHDRAWN of it as it was before.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		w := b.open().watches("")
		for range 2 {
			s.declares("room/disk")
			w.sees(stores.EventDeclared, free("room/disk"))
			other.withdraws("room/disk")
			w.sees(stores.EventWithdrawn, free("room/disk"))
		}
		w.idles()
	},
}, {
	name: "a watcher is told the life of a declared lock",
	rule: changeRule + " WITHDRAWN tells that nobody holds the lock any more, too: it is one change, and one event.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		w := b.open().watches("")
		s.declares("room/disk")
		w.sees(stores.EventDeclared, free("room/disk"))
		for _, end := range []struct {
			kind stores.EventKind
			call func(name, owner string)
		}{
			{stores.EventReleased, s.frees},
			{stores.EventWithdrawn, func(name, _ string) { other.withdraws(name) }},
		} {
			req := b.member("room/disk", "ann")
			req.Metadata = map[string]string{"host": "a"}
			l := held("room/disk", "ann", s.grantsAs(req))
			l.Metadata = req.Metadata
			w.sees(stores.EventAcquired, l)
			end.call("room/disk", "ann")
			if end.kind == stores.EventWithdrawn {
				l = declared(l)
			}
			w.sees(end.kind, l)
		}
		w.idles()
	},
}, {
	name: "a watcher is told that a lock is declared which somebody holds",
	rule: "DECLARED tells a lock as it has become, with its holder; it stays declared when the holder is gone.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		w := b.open().watches("")
		l := held("room/disk", "ann", s.grants("room/disk", "ann"))
		w.sees(stores.EventAcquired, l)
		other.declares("room/disk")
		w.sees(stores.EventDeclared, declared(l))
		s.frees("room/disk", "ann")
		w.sees(stores.EventReleased, l)
		other.watches("", free("room/disk"))
		s.withdraws("room/disk")
		w.sees(stores.EventWithdrawn, free("room/disk"))
	},
}, {
	name: "a watcher is told that a declared lock has expired",
	rule: changeRule + " That a TTL passes is a change, though nobody calls the store; the lock exists as before.",
	check: func(b *bench) {
		s := b.open()
		w := b.open().watches("")
		s.declaresFor("room/disk", b.short())
		want := stores.LockInfo{Key: "room/disk", DeclaredTTL: b.short()}
		w.sees(stores.EventDeclared, want)
		l := held("room/disk", "ann", s.admits("room/disk", "ann"))
		l.TTL = b.short()
		w.sees(stores.EventAcquired, l)
		time.Sleep(b.short())
		w.sees(stores.EventExpired, l)
		s.withdraws("room/disk")
		w.sees(stores.EventWithdrawn, want)
	},
}, {
	name: "a watcher is told that a lock expired before it is withdrawn",
	rule: changeRule,
	check: func(b *bench) {
		s := b.open()
		s.declaresFor("room/disk", b.ample())
		l := held("room/disk", "ann", s.admits("room/disk", "ann"))
		l.TTL, l.DeclaredTTL = b.ample(), b.ample()
		w := b.open().looks(b.key(""), nil)
		if e := w.next(); len(e.Locks) != 1 || e.Locks[0].Owner == "" {
			b.want(b.lapsed(), "the snapshot tells %+v", e.Locks)
			return // the machine was too slow
		}
		b.expire(b.ample())
		s.withdraws("room/disk")
		l.DeclaredTTL = 0 // of no meaning
		w.sees(stores.EventExpired, l)
		w.sees(stores.EventWithdrawn, stores.LockInfo{Key: "room/disk", DeclaredTTL: b.ample()})
	},
}, {
	name: "a watcher is told nothing of declarations that are refused",
	rule: "What was refused is no change.",
	check: func(b *bench) {
		s := b.open()
		s.declares("room/disk")
		l := declared(held("room/disk", "ann", s.admits("room/disk", "ann")))
		w := b.open().watches("", l)
		full := b.declaration("room/gate", lease)
		full.Limit = 1
		s.declines(full, stores.ErrLimit)
		s.declines(b.declaration("room/disk", lease/2), stores.ErrDeclared)
		s.lacks("room/gate")
		s.rejects("room/gate", "ann", stores.ErrNotDeclared)
		s.rejects("room/disk", "ann", stores.ErrRepeated)
		s.bars("room/disk", "bob")
		w.idles()
	},
}, {
	name:  "a watcher is told nothing of those who give up",
	rule:  "Waiters are no events, nor is their leaving.",
	needs: []string{waiting, listing},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		l := declared(held("room/disk", "ann", s.admits("room/disk", "ann")))
		w := b.open().watches("", l)
		bob := other.joins("room/disk", "bob")
		s.frees("room/disk", "bob")
		bob.fails(stores.ErrGaveUp)
		w.idles()
	},
}, {
	name:  "a watcher is told of a withdrawal before the next one gets the lock",
	rule:  changeRule,
	needs: []string{waiting, listing},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.declares("room/disk")
		ann := declared(held("room/disk", "ann", s.admits("room/disk", "ann")))
		w := b.open().watches("", ann)
		bob, carl := other.joins("room/disk", "bob"), other.waits("room/disk", "carl")
		s.withdraws("room/disk")
		bob.fails(stores.ErrNotDeclared)
		next := held("room/disk", "carl", carl.gets())
		w.sees(stores.EventWithdrawn, ann)
		w.sees(stores.EventAcquired, next)
		s.frees("room/disk", "carl")
		w.sees(stores.EventReleased, next)
		w.idles()
	},
}, {
	name: "a watcher is told of the declared locks under its prefix",
	rule: "Watch is of the locks whose key starts with the prefix, whatever their group.",
	check: func(b *bench) {
		s := b.open()
		s.declares("room/a", "hall/a")
		w := b.open().watches("room/a", free("room/a"))
		s.declares("room/b", "hall/b", "room/ab")
		s.withdraws("hall/a")
		s.withdraws("room/a")
		w.sees(stores.EventDeclared, free("room/ab"))
		w.sees(stores.EventWithdrawn, free("room/a"))
		w.idles()
	},
}, {
	name:  "a watcher knows what is declared, whenever it began",
	rule:  "Applied to the snapshot, the events give the state: who holds what, with which token, and what is declared.",
	needs: []string{listing},
	awake: true,
	check: func(b *bench) {
		b.knowAll("room", b.stirDeclared)
	},
}}

// stirDeclared declares, takes, gives back and withdraws some of a few locks at random,
// through both clients at once.
func (b *bench) stirDeclared(s, other store) {
	together(4, func(i int) bool {
		client, owner := pick(i, s, other), nth("owner", i)
		for range 10 {
			name := nth("room/disk", rand.IntN(4))
			switch rand.IntN(7) {
			case 0:
				_ = client.declare(b.declaration(name, pick(rand.IntN(2), b.short(), lease)))
			case 1:
				_ = client.withdraw(name)
			case 2, 3:
				_, _ = client.tryLockFor(b.member(name, owner))
			case 4:
				_, _ = client.tryLock(name, owner, pick(rand.IntN(2), b.short(), lease))
			case 5:
				_ = client.unlock(name, owner)
			case 6:
				if b.declares([]string{revoking}) {
					_ = client.revoke(name, "")
				}
			}
		}
		return true
	})
}
