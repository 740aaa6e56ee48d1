package conformance

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// declareRaceRows test concurrent calls of Declare, TryLock and Withdraw. Run them under
// -race.
var declareRaceRows = []row{{
	name:      "concurrent declarations stop at the limit",
	rule:      "Of 16 concurrent declarations of different locks with a limit of 8, exactly 8 succeed; the others fail with ErrLimit.",
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		f.repeat(10, func(round int) {
			group := nth("room", round)
			declared := concurrently(16, func(i int) bool {
				d := f.declaration(nth(group+"/disk", i), lease)
				d.Limit = 8
				return f.succeeded(pick(i, s, other).declare(d), stores.ErrLimit, "Declare")
			})
			f.want(declared == 8, "%d of 16 declarations succeeded", declared)
			s.mustGroupLen(group+"/", 8)
		})
	},
}, {
	name:      "one of many concurrent declarations of a lock succeeds",
	rule:      "Of many concurrent declarations of the same lock exactly one succeeds; the others fail with ErrDeclared.",
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		f.repeat(10, func(round int) {
			name := nth("room/disk", round)
			f.wantOne(callers, concurrently(callers, func(i int) bool {
				d := f.declaration(name, lease)
				d.Limit = round + 1
				return f.succeeded(pick(i, s, other).declare(d), stores.ErrDeclared, "Declare")
			}))
		})
	},
}, {
	name:      "one of many concurrent withdrawals succeeds",
	rule:      "One Withdraw ends a lock; every concurrent one fails with ErrNotDeclared.",
	realClock: true,
	check: func(f *fixture) {
		f.withDeclared(10, func(s, other store, name string, _ int) {
			s.mustLockMember(name, "ann")
			f.wantOne(callers, concurrently(callers, func(i int) bool {
				return f.succeeded(pick(i, s, other).withdraw(name), stores.ErrNotDeclared, "Withdraw")
			}))
		})
	},
}, {
	name:      "a group never has more locks than the limit",
	rule:      "The limit holds at any time during concurrent calls of Declare and Withdraw.",
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		var declared [8]bool
		f.repeat(rounds, func(int) {
			n := concurrently(len(declared), func(i int) bool {
				d := f.declaration(nth("room/disk", i), lease)
				d.Limit = 3
				if declared[i] {
					pick(i, s, other).mustWithdraw(nth("room/disk", i))
					declared[i] = false
				} else {
					declared[i] = f.succeeded(pick(i, s, other).declare(d), stores.ErrLimit, "Declare")
				}
				return declared[i]
			})
			s.mustGroupLen("room/", n)
			f.want(n <= 3, "the group has %d locks, the limit is 3", n)
		})
	},
}, {
	name:      "a group is read at one moment",
	rule:      groupRule,
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		last, next := "room/a", "room/z"
		s.mustDeclare(last)
		withBackground(func() {
			s.mustDeclare(next) // so that one of them always exists
			s.mustWithdraw(last)
			last, next = next, last
		}, func() {
			f.repeatBriefly(func() { f.want(len(other.group("room/")) > 0, "the group was returned as empty") })
		})
	},
}, {
	name:      "one of many concurrent requests gets a declared lock",
	rule:      "Of many concurrent requests for a free declared lock exactly one is granted, and the others are refused.",
	realClock: true,
	check: func(f *fixture) {
		f.withDeclared(10, func(s, other store, name string, _ int) {
			f.wantOne(callers, concurrently(callers, func(i int) bool {
				g, err := pick(i, s, other).tryLockRequest(f.member(name, nth("owner", i)))
				f.want(err == nil, "TryLock of %q failed: %v", name, err)
				return g.Acquired
			}))
		})
	},
}, {
	name:      "one of an owner's concurrent requests gets a declared lock",
	rule:      "One request of an owner is granted; every concurrent one fails with ErrRepeated.",
	realClock: true,
	check: func(f *fixture) {
		f.withDeclared(10, func(s, other store, name string, _ int) {
			f.wantOne(callers, concurrently(callers, func(i int) bool {
				g, err := pick(i, s, other).tryLockRequest(f.member(name, "ann"))
				granted := f.succeeded(err, stores.ErrRepeated, "TryLock")
				f.want(granted == g.Acquired, "TryLock returned %+v and %v", g, err)
				return g.Acquired
			}))
		})
	},
}, {
	name:      "a lock that is withdrawn during requests is free",
	rule:      withdrawRule + " Afterwards the lock is free, whichever requests were in progress, and none is granted.",
	realClock: true,
	check: func(f *fixture) {
		f.withDeclared(rounds, func(s, other store, name string, round int) {
			f.withdrawDuringLocks(s, other, name, round, store.tryLockRequest)
		})
	},
}}

// memberWaitRaceRows test concurrent calls with waiters for declared locks.
var memberWaitRaceRows = []row{{
	name:      "one of an owner's concurrent requests waits",
	rule:      "One request of an owner waits or is granted; every concurrent one fails with ErrRepeated.",
	realClock: true,
	check: func(f *fixture) {
		f.withDeclared(10, func(s, other store, name string, round int) {
			if round%2 == 0 {
				s.mustLockMember(name, "ann")
			}
			var asked []*waiter
			for i := range callers {
				asked = append(asked, pick(i, s, other).startLockMember(name, "bob"))
			}
			if round%2 == 0 {
				f.wantReturned(asked, callers-1)
				s.mustUnlock(name, "ann")
			}
			f.wantReturned(asked, callers)
			f.wantOne(callers, len(filter(asked, func(w *waiter) bool {
				return w.returned() && f.succeeded(w.err, stores.ErrRepeated, "Lock")
			})))
			s.mustUnlock(name, "bob")
		})
	},
}, {
	name:      "a lock that is withdrawn during waiting requests is free",
	rule:      withdrawRule + " A waiting request in progress fails with ErrNotDeclared.",
	realClock: true,
	check: func(f *fixture) {
		f.withDeclared(rounds, func(s, other store, name string, round int) {
			f.withdrawDuringLocks(s, other, name, round, store.lockRequest)
		})
	},
}, {
	name:      "waiters of a withdrawn lock are never granted",
	rule:      "Waiting requests with the group fail when the lock is withdrawn, even if it is declared again immediately.",
	realClock: true,
	check: func(f *fixture) {
		f.withDeclared(rounds, func(s, other store, name string, round int) {
			s.mustLockMember(name, "ann")
			bob, carl := s.waitMember(name, "bob"), other.waitMember(name, "carl")
			f.race(round, func() {
				s.mustWithdraw(name)
				s.mustDeclare(name)
			}, func() {
				f.succeeded(other.unlock(name, "ann"), stores.ErrNotHeld, "Unlock")
			})
			bob.mustGetOrFail(stores.ErrNotDeclared) // only if Unlock came first
			carl.mustFail(stores.ErrNotDeclared)
			s.mustGroup("room/", freeLock(name))
			s.mustWithdraw(name)
		})
	},
}, {
	name:      "a grant and the end of a wait by Unlock exclude each other",
	rule:      "Unlock ends the wait of its owner or the lock just granted to it: either way Lock returns and the lock is free.",
	realClock: true,
	check: func(f *fixture) {
		f.withDeclared(rounds, func(s, other store, name string, round int) {
			s.mustLockMember(name, "ann")
			bob := other.waitMember(name, "bob")
			f.race(round, func() { s.mustUnlock(name, "ann") }, func() { pick(round, s, other).mustUnlock(name, "bob") })
			bob.mustGetOrFail(stores.ErrGaveUp)
			s.mustLockMember(name, "carl")
		})
	},
}, {
	name:      "a wait that is canceled during a withdrawal leaves no trace",
	rule:      "A wait ends once, by the end of ctx or by the withdrawal; its owner can request the lock again.",
	realClock: true,
	check: func(f *fixture) {
		f.withDeclared(rounds, func(s, other store, name string, round int) {
			s.mustLockMember(name, "ann")
			bob := other.waitMember(name, "bob")
			f.race(round, func() { s.mustWithdraw(name) }, bob.stop)
			if !bob.waitReturn(f.promptLimit()) || !errors.Is(bob.err, context.Canceled) {
				bob.mustFail(stores.ErrNotDeclared)
			}
			s.mustDeclare(name)
			s.mustGroup("room/", freeLock(name))
			other.startLockMember(name, "bob").mustGet()
			s.mustWithdraw(name)
		})
	},
}}

// succeeded reports whether a concurrent call succeeded. Otherwise it expects the error
// want.
func (f *fixture) succeeded(err, want error, call string) bool {
	f.want(err == nil || errors.Is(err, want), "%s returned %v, want %v or nothing", call, err, want)
	return err == nil
}

// withDeclared calls do n times, or until there is a failure, with two clients and the
// name of a declared lock.
func (f *fixture) withDeclared(n int, do func(s, other store, name string, round int)) {
	s, other := f.open(), f.open()
	f.repeat(n, func(round int) {
		name := nth("room/disk", round)
		s.mustDeclare(name)
		do(s, other, name, round)
	})
}

// race calls two functions concurrently. Each round delays the second one by a different
// time.
func (f *fixture) race(round int, first, second func()) {
	if round%2 == 1 {
		first, second = second, first
	}
	concurrently(2, func(i int) bool {
		if i == 0 {
			first()
		} else {
			time.Sleep(time.Duration(round%10) * 20 * time.Microsecond)
			second()
		}
		return true
	})
}

// withdrawDuringLocks withdraws the lock during concurrent requests for it, and expects
// it to be free afterwards.
func (f *fixture) withdrawDuringLocks(s, other store, name string, round int, ask func(store, stores.Request) (stores.Grant, error)) {
	var withdrawn atomic.Bool
	f.race(round, func() {
		concurrently(7, func(i int) bool {
			f.lockUntilWithdrawn(pick(i, s, other), f.member(name, nth("owner", i)), ask, &withdrawn)
			return true
		})
	}, func() {
		s.mustWithdraw(name)
		withdrawn.Store(true)
		s.unlockFails(name, "carl", stores.ErrNotHeld)
	})
	f.wantFree(s, name, "zoe")
}

// lockUntilWithdrawn acquires and releases the declared lock until it is withdrawn. After
// that no grant may be left.
func (f *fixture) lockUntilWithdrawn(
	s store, req stores.Request, ask func(store, stores.Request) (stores.Grant, error), withdrawn *atomic.Bool,
) {
	name := f.name(req.Key)
	for f.err() == nil {
		g, err := ask(s, req)
		if !f.succeeded(err, stores.ErrNotDeclared, "a request during the withdrawal") {
			return
		}
		if g.Acquired {
			late := withdrawn.Load()
			had := f.succeeded(s.unlock(name, req.Owner), stores.ErrNotHeld, "Unlock")
			f.want(!late || !had, "%q held %q after it was withdrawn", req.Owner, name)
		}
	}
}

// lockRequest calls Lock with a timeout.
func (s store) lockRequest(req stores.Request) (stores.Grant, error) {
	ctx, cancel := s.f.callContext()
	defer cancel()
	return stores.Lock(ctx, s.Store, req)
}

// mustGetOrFail expects the call to return promptly, with a grant or with want.
func (w *waiter) mustGetOrFail(want error) {
	if w.waitReturn(w.s.f.promptLimit()); w.returned() && w.err == nil {
		w.mustGet()
		return
	}
	w.mustFail(want)
}

// wantReturned expects want of the calls to return promptly.
func (f *fixture) wantReturned(calls []*waiter, want int) {
	n := 0
	f.eventually(f.promptLimit(), func() bool {
		n = len(filter(calls, (*waiter).returned))
		return n >= want
	})
	f.want(n == want, "%d of %d calls have returned, want %d", n, len(calls), want)
}

// repeat calls do n times, or until there is a failure.
func (f *fixture) repeat(n int, do func(round int)) {
	for round := 0; round < n && f.err() == nil; round++ {
		do(round)
	}
}

// repeatBriefly repeats do long enough for a rare failure to be likely.
func (f *fixture) repeatBriefly(do func()) {
	end := time.Now().Add(50 * time.Millisecond)
	for n := 0; (n < 50 || time.Now().Before(end)) && f.err() == nil; n++ {
		do()
	}
}
