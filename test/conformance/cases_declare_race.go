package conformance

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// declareRaceRows are about many who declare, take and withdraw at once. They say most
// under -race.
var declareRaceRows = []row{{
	name:      "of a crowd as many declare as the limit says",
	rule:      "Of 16 that declare a lock each, at once and with a limit of 8, exactly 8 succeed; the others fail with ErrLimit.",
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
			f.want(declared == 8, "%d of 16 declared a lock", declared)
			s.mustGroupLen(group+"/", 8)
		})
	},
}, {
	name:      "of a crowd that declares one lock one succeeds",
	rule:      "Of many that declare the same lock at once exactly one succeeds; the others fail with ErrDeclared.",
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
	name:      "of many withdrawals one succeeds",
	rule:      "One Withdraw ends a lock; every other at the same time fails with ErrNotDeclared.",
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
	name:      "a group never has more locks than the limit says",
	rule:      "The limit holds at each moment, whatever is declared and withdrawn at once.",
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
	name:      "a group is told as of one moment",
	rule:      groupRule,
	realClock: true,
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		last, next := "room/a", "room/z"
		s.mustDeclare(last)
		withBackground(func() {
			s.mustDeclare(next) // so that there is always one of them
			s.mustWithdraw(last)
			last, next = next, last
		}, func() {
			f.repeatBriefly(func() { f.want(len(other.group("room/")) > 0, "the group was told as empty") })
		})
	},
}, {
	name:      "of a crowd that asks for a declared lock one gets it",
	rule:      "Of many that ask for a free declared lock at once exactly one is granted, and the others are refused.",
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
	name:      "an owner that asks many times at once gets a declared lock once",
	rule:      "One request of an owner is granted; every other at the same time fails with ErrRepeated.",
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
	name:      "nobody has a lock that was withdrawn",
	rule:      withdrawRule + " After it nobody holds the lock, whoever asked for it meanwhile, and nobody gets it.",
	realClock: true,
	check: func(f *fixture) {
		f.withDeclared(rounds, func(s, other store, name string, round int) {
			f.withdrawDuringLocks(s, other, name, round, store.tryLockRequest)
		})
	},
}}

// memberWaitRaceRows are about waiting for declared locks while much happens at once.
var memberWaitRaceRows = []row{{
	name:      "an owner that asks many times at once waits once",
	rule:      "One request of an owner waits or is granted; every other at the same time fails with ErrRepeated.",
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
	name:      "nobody waits for a lock that was withdrawn",
	rule:      withdrawRule + " Who asks for it meanwhile, and would wait, is told that it does not exist.",
	realClock: true,
	check: func(f *fixture) {
		f.withDeclared(rounds, func(s, other store, name string, round int) {
			f.withdrawDuringLocks(s, other, name, round, store.lockRequest)
		})
	},
}, {
	name:      "those who wait for a lock that is withdrawn are never served",
	rule:      "Requests with the group that wait for a lock fail when it is withdrawn, although it is declared again at once.",
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
			bob.mustGetOrFail(stores.ErrNotDeclared) // if Unlock came first, for a moment
			carl.mustFail(stores.ErrNotDeclared)
			s.mustGroup("room/", freeLock(name))
			s.mustWithdraw(name)
		})
	},
}, {
	name:      "a grant and giving up are one or the other",
	rule:      "Unlock ends the wait of its owner, or the lock that it has just got: either way Lock returns, and nobody has it.",
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
	name:      "who leaves while the lock is withdrawn leaves nothing behind",
	rule:      "A wait ends once, by the end of ctx or by the withdrawal; its owner may come again.",
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

// oneIn tells whether a call of many succeeded. One that did not must have the outcome
// want.
func (f *fixture) succeeded(err, want error, call string) bool {
	f.want(err == nil || errors.Is(err, want), "%s returned %v, want %v or nothing", call, err, want)
	return err == nil
}

// disks calls f n times, until there is a problem, with clients and a lock that is
// declared.
func (f *fixture) withDeclared(n int, do func(s, other store, name string, round int)) {
	s, other := f.open(), f.open()
	f.repeat(n, func(round int) {
		name := nth("room/disk", round)
		s.mustDeclare(name)
		do(s, other, name, round)
	})
}

// clash lets two things happen at once, in each round one of them a little later.
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

// withdrawsAmid withdraws the lock while some take it again and again, and expects that
// nobody has it afterwards.
func (f *fixture) withdrawDuringLocks(s, other store, name string, round int, ask func(store, stores.Request) (stores.Grant, error)) {
	var gone atomic.Bool
	f.race(round, func() {
		concurrently(7, func(i int) bool {
			f.lockUntilWithdrawn(pick(i, s, other), f.member(name, nth("owner", i)), ask, &gone)
			return true
		})
	}, func() {
		s.mustWithdraw(name)
		gone.Store(true)
		s.unlockFails(name, "anybody", stores.ErrNotHeld)
	})
	f.wantFree(s, name, "zoe")
}

// turnUntilGone takes the declared lock again and again and gives it back, until it is
// withdrawn. After that there must be nothing to give back.
func (f *fixture) lockUntilWithdrawn(
	s store, req stores.Request, ask func(store, stores.Request) (stores.Grant, error), gone *atomic.Bool,
) {
	name := f.name(req.Key)
	for f.err() == nil {
		g, err := ask(s, req)
		if !f.succeeded(err, stores.ErrNotDeclared, "asking for a lock that is withdrawn meanwhile") {
			return
		}
		if g.Acquired {
			late := gone.Load()
			had := f.succeeded(s.unlock(name, req.Owner), stores.ErrNotHeld, "Unlock")
			f.want(!late || !had, "%q had %q after it was withdrawn", req.Owner, name)
		}
	}
}

// lockFor is Lock within the bounds of the bench.
func (s store) lockRequest(req stores.Request) (stores.Grant, error) {
	ctx, cancel := s.f.callContext()
	defer cancel()
	return stores.Lock(ctx, s.Store, req)
}

// grantedOr expects the call to end now, with a grant or with the outcome want.
func (w *waiter) mustGetOrFail(want error) {
	if w.waitReturn(w.s.f.promptLimit()); w.returned() && w.err == nil {
		w.mustGet()
		return
	}
	w.mustFail(want)
}

// ended expects so many of the calls to have ended, now or soon.
func (f *fixture) wantReturned(calls []*waiter, want int) {
	n := 0
	f.eventually(f.promptLimit(), func() bool {
		n = len(filter(calls, (*waiter).returned))
		return n >= want
	})
	f.want(n == want, "%d of %d calls have ended, want %d", n, len(calls), want)
}

// often calls f with the numbers of n rounds, until there is a problem.
func (f *fixture) repeat(n int, do func(round int)) {
	for round := 0; round < n && f.err() == nil; round++ {
		do(round)
	}
}

// forAWhile repeats f for as long as something has to go wrong that seldom does.
func (f *fixture) repeatBriefly(do func()) {
	end := time.Now().Add(50 * time.Millisecond)
	for n := 0; (n < 50 || time.Now().Before(end)) && f.err() == nil; n++ {
		do()
	}
}
