package conformance

import (
	"math/rand/v2"

	"github.com/mortise-lock/mortise/stores"
)

// declaredWatchRows test the events of declared locks.
var declaredWatchRows = []row{{
	name: "a snapshot has the declared locks",
	rule: "Watch first sends a snapshot of the locks that List would return: held or declared, sorted by key.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclare("room/d", "room/b", "hall/a")
		a := heldLock("room/a", "ann", s.mustLock("room/a", "ann"))
		d := declaredLock(heldLock("room/d", "ann", s.mustLockMember("room/d", "ann")))
		w := f.open().mustWatch("room/", a, freeLock("room/b"), d)
		s.mustUnlock("room/a", "ann")
		w.mustSee(stores.EventReleased, a)
	},
}, {
	name: "a watcher sees locks declared and withdrawn",
	rule: "Watch sends DECLARED with the lock's new state, and WITHDRAWN with its old state.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		w := f.open().mustWatch("")
		for range 2 {
			s.mustDeclare("room/disk")
			w.mustSee(stores.EventDeclared, freeLock("room/disk"))
			other.mustWithdraw("room/disk")
			w.mustSee(stores.EventWithdrawn, freeLock("room/disk"))
		}
		w.mustBeIdle()
	},
}, {
	name: "a watcher sees each change of a declared lock",
	rule: changeRule + " WITHDRAWN also ends the hold of the lock: it is one change with one event.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		w := f.open().mustWatch("")
		s.mustDeclare("room/disk")
		w.mustSee(stores.EventDeclared, freeLock("room/disk"))
		for _, end := range []struct {
			kind stores.EventKind
			call func(name, owner string)
		}{
			{stores.EventReleased, s.mustUnlock},
			{stores.EventWithdrawn, func(name, _ string) { other.mustWithdraw(name) }},
		} {
			req := f.member("room/disk", "ann")
			req.Metadata = map[string]string{"host": "a"}
			l := heldLock("room/disk", "ann", s.mustLockRequest(req))
			l.Metadata = req.Metadata
			w.mustSee(stores.EventAcquired, l)
			end.call("room/disk", "ann")
			if end.kind == stores.EventWithdrawn {
				l = declaredLock(l)
			}
			w.mustSee(end.kind, l)
		}
		w.mustBeIdle()
	},
}, {
	name: "a watcher sees a held lock declared",
	rule: "DECLARED has the lock's new state with its holder; the lock stays declared after its hold has ended.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		w := f.open().mustWatch("")
		l := heldLock("room/disk", "ann", s.mustLock("room/disk", "ann"))
		w.mustSee(stores.EventAcquired, l)
		other.mustDeclare("room/disk")
		w.mustSee(stores.EventDeclared, declaredLock(l))
		s.mustUnlock("room/disk", "ann")
		w.mustSee(stores.EventReleased, l)
		other.mustWatch("", freeLock("room/disk"))
		s.mustWithdraw("room/disk")
		w.mustSee(stores.EventWithdrawn, freeLock("room/disk"))
	},
}, {
	name: "a watcher sees a declared lock expire",
	rule: changeRule + " The end of a TTL is a change without a call; the lock still exists.",
	check: func(f *fixture) {
		s := f.open()
		w := f.open().mustWatch("")
		s.mustDeclareFor("room/disk", f.shortTTL())
		want := stores.LockInfo{Key: "room/disk", DeclaredTTL: f.shortTTL()}
		w.mustSee(stores.EventDeclared, want)
		l := heldLock("room/disk", "ann", s.mustLockMember("room/disk", "ann"))
		l.TTL = f.shortTTL()
		w.mustSee(stores.EventAcquired, l)
		f.sleep(f.shortTTL())
		w.mustSee(stores.EventExpired, l)
		s.mustWithdraw("room/disk")
		w.mustSee(stores.EventWithdrawn, want)
	},
}, {
	name: "a watcher sees a lock expire before it is withdrawn",
	rule: changeRule,
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclareFor("room/disk", f.ampleTTL())
		l := heldLock("room/disk", "ann", s.mustLockMember("room/disk", "ann"))
		l.TTL, l.DeclaredTTL = f.ampleTTL(), f.ampleTTL()
		w := f.open().startWatch(f.key(""), nil)
		if e := w.next(); len(e.Locks) != 1 || e.Locks[0].Owner == "" {
			f.want(f.mayHaveExpired(), "the snapshot has %+v", e.Locks)
			return // the machine was too slow
		}
		f.waitExpired(f.ampleTTL())
		s.mustWithdraw("room/disk")
		l.DeclaredTTL = 0 // has no meaning in this event
		w.mustSee(stores.EventExpired, l)
		w.mustSee(stores.EventWithdrawn, stores.LockInfo{Key: "room/disk", DeclaredTTL: f.ampleTTL()})
	},
}, {
	name: "a rejected declaration sends no event",
	rule: "Refused and failed calls change nothing and send no events.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclare("room/disk")
		l := declaredLock(heldLock("room/disk", "ann", s.mustLockMember("room/disk", "ann")))
		w := f.open().mustWatch("", l)
		full := f.declaration("room/gate", lease)
		full.Limit = 1
		s.declareFails(full, stores.ErrLimit)
		s.declareFails(f.declaration("room/disk", lease/2), stores.ErrDeclared)
		s.withdrawFails("room/gate")
		s.lockMemberFails("room/gate", "ann", stores.ErrNotDeclared)
		s.lockMemberFails("room/disk", "ann", stores.ErrRepeated)
		s.mustRefuseMember("room/disk", "bob")
		w.mustBeIdle()
	},
}, {
	name:  "a wait that Unlock ends sends no event",
	rule:  "Starting and ending a wait sends no events.",
	needs: []string{needWait, needList},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		l := declaredLock(heldLock("room/disk", "ann", s.mustLockMember("room/disk", "ann")))
		w := f.open().mustWatch("", l)
		bob := other.waitMember("room/disk", "bob")
		s.mustUnlock("room/disk", "bob")
		bob.mustFail(stores.ErrGaveUp)
		w.mustBeIdle()
	},
}, {
	name:  "a watcher sees a withdrawal before the next grant",
	rule:  changeRule,
	needs: []string{needWait, needList},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustDeclare("room/disk")
		ann := declaredLock(heldLock("room/disk", "ann", s.mustLockMember("room/disk", "ann")))
		w := f.open().mustWatch("", ann)
		bob, carl := other.waitMember("room/disk", "bob"), other.startWait("room/disk", "carl")
		s.mustWithdraw("room/disk")
		bob.mustFail(stores.ErrNotDeclared)
		next := heldLock("room/disk", "carl", carl.mustGet())
		w.mustSee(stores.EventWithdrawn, ann)
		w.mustSee(stores.EventAcquired, next)
		s.mustUnlock("room/disk", "carl")
		w.mustSee(stores.EventReleased, next)
		w.mustBeIdle()
	},
}, {
	name: "a watcher sees only declared locks under its prefix",
	rule: "Watch covers the locks whose key starts with the prefix, in any group.",
	check: func(f *fixture) {
		s := f.open()
		s.mustDeclare("room/a", "hall/a")
		w := f.open().mustWatch("room/a", freeLock("room/a"))
		s.mustDeclare("room/b", "hall/b", "room/ab")
		s.mustWithdraw("hall/a")
		s.mustWithdraw("room/a")
		w.mustSee(stores.EventDeclared, freeLock("room/ab"))
		w.mustSee(stores.EventWithdrawn, freeLock("room/a"))
		w.mustBeIdle()
	},
}, {
	name:      "watchers of declared locks agree with the list",
	rule:      "The events, applied to the snapshot, give the state: the holders, their tokens, and the declared locks.",
	needs:     []string{needList},
	realClock: true,
	check: func(f *fixture) {
		f.checkReplays("room", f.changeDeclared)
	},
}}

// changeDeclared declares, acquires, releases and withdraws locks at random, concurrently
// through both clients.
func (f *fixture) changeDeclared(s, other store) {
	concurrently(4, func(i int) bool {
		client, owner := pick(i, s, other), nth("owner", i)
		for range 10 {
			name := nth("room/disk", rand.IntN(4))
			switch rand.IntN(7) {
			case 0:
				_ = client.declare(f.declaration(name, pick(rand.IntN(2), f.shortTTL(), lease)))
			case 1:
				_ = client.withdraw(name)
			case 2, 3:
				_, _ = client.tryLockRequest(f.member(name, owner))
			case 4:
				_, _ = client.tryLock(name, owner, pick(rand.IntN(2), f.shortTTL(), lease))
			case 5:
				_ = client.unlock(name, owner)
			case 6:
				if f.declares([]string{needRevoke}) {
					_ = client.revoke(name, "")
				}
			}
		}
		return true
	})
}
