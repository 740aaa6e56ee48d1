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
	name:  "of a crowd as many declare as the limit says",
	rule:  "Of 16 that declare a lock each, at once and with a limit of 8, exactly 8 succeed; the others fail with ErrLimit.",
	awake: true,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		b.often(10, func(round int) {
			group := nth("room", round)
			declared := together(16, func(i int) bool {
				d := b.declaration(nth(group+"/disk", i), lease)
				d.Limit = 8
				return b.oneIn(pick(i, s, other).declare(d), stores.ErrLimit, "Declare")
			})
			b.want(declared == 8, "%d of 16 declared a lock", declared)
			s.gathered(group+"/", 8)
		})
	},
}, {
	name:  "of a crowd that declares one lock one succeeds",
	rule:  "Of many that declare the same lock at once exactly one succeeds; the others fail with ErrDeclared.",
	awake: true,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		b.often(10, func(round int) {
			name := nth("room/disk", round)
			b.oneOf(crowd, together(crowd, func(i int) bool {
				d := b.declaration(name, lease)
				d.Limit = round + 1
				return b.oneIn(pick(i, s, other).declare(d), stores.ErrDeclared, "Declare")
			}))
		})
	},
}, {
	name:  "of many withdrawals one succeeds",
	rule:  "One Withdraw ends a lock; every other at the same time fails with ErrNotDeclared.",
	awake: true,
	check: func(b *bench) {
		b.disks(10, func(s, other store, name string, _ int) {
			s.admits(name, "ann")
			b.oneOf(crowd, together(crowd, func(i int) bool {
				return b.oneIn(pick(i, s, other).withdraw(name), stores.ErrNotDeclared, "Withdraw")
			}))
		})
	},
}, {
	name:  "a group never has more locks than the limit says",
	rule:  "The limit holds at each moment, whatever is declared and withdrawn at once.",
	awake: true,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		var declared [8]bool
		b.often(rounds, func(int) {
			n := together(len(declared), func(i int) bool {
				d := b.declaration(nth("room/disk", i), lease)
				d.Limit = 3
				if declared[i] {
					pick(i, s, other).withdraws(nth("room/disk", i))
					declared[i] = false
				} else {
					declared[i] = b.oneIn(pick(i, s, other).declare(d), stores.ErrLimit, "Declare")
				}
				return declared[i]
			})
			s.gathered("room/", n)
			b.want(n <= 3, "the group has %d locks, the limit is 3", n)
		})
	},
}, {
	name:  "a group is told as of one moment",
	rule:  groupRule,
	awake: true,
	check: func(b *bench) {
		s, other := b.open(), b.open()
		last, next := "room/a", "room/z"
		s.declares(last)
		during(func() {
			s.declares(next) // so that there is always one of them
			s.withdraws(last)
			last, next = next, last
		}, func() {
			b.forAWhile(func() { b.want(len(other.group("room/")) > 0, "the group was told as empty") })
		})
	},
}, {
	name:  "of a crowd that asks for a declared lock one gets it",
	rule:  "Of many that ask for a free declared lock at once exactly one is granted, and the others are refused.",
	awake: true,
	check: func(b *bench) {
		b.disks(10, func(s, other store, name string, _ int) {
			b.oneOf(crowd, together(crowd, func(i int) bool {
				g, err := pick(i, s, other).tryLockFor(b.member(name, nth("owner", i)))
				b.want(err == nil, "TryLock of %q failed: %v", name, err)
				return g.Acquired
			}))
		})
	},
}, {
	name:  "an owner that asks many times at once gets a declared lock once",
	rule:  "One request of an owner is granted; every other at the same time fails with ErrRepeated.",
	awake: true,
	check: func(b *bench) {
		b.disks(10, func(s, other store, name string, _ int) {
			b.oneOf(crowd, together(crowd, func(i int) bool {
				g, err := pick(i, s, other).tryLockFor(b.member(name, "ann"))
				granted := b.oneIn(err, stores.ErrRepeated, "TryLock")
				b.want(granted == g.Acquired, "TryLock returned %+v and %v", g, err)
				return g.Acquired
			}))
		})
	},
}, {
	name:  "nobody has a lock that was withdrawn",
	rule:  withdrawRule + " After it nobody holds the lock, whoever asked for it meanwhile, and nobody gets it.",
	awake: true,
	check: func(b *bench) {
		b.disks(rounds, func(s, other store, name string, round int) { b.withdrawsAmid(s, other, name, round, store.tryLockFor) })
	},
}}

// memberWaitRaceRows are about waiting for declared locks while much happens at once.
var memberWaitRaceRows = []row{{
	name:  "an owner that asks many times at once waits once",
	rule:  "One request of an owner waits or is granted; every other at the same time fails with ErrRepeated.",
	awake: true,
	check: func(b *bench) {
		b.disks(10, func(s, other store, name string, round int) {
			if round%2 == 0 {
				s.admits(name, "ann")
			}
			var asked []*waiter
			for i := range crowd {
				asked = append(asked, pick(i, s, other).knocks(name, "bob"))
			}
			if round%2 == 0 {
				b.ended(asked, crowd-1)
				s.frees(name, "ann")
			}
			b.ended(asked, crowd)
			b.oneOf(crowd, len(filter(asked, func(w *waiter) bool {
				return w.returned() && b.oneIn(w.err, stores.ErrRepeated, "Lock")
			})))
			s.frees(name, "bob")
		})
	},
}, {
	name:  "nobody waits for a lock that was withdrawn",
	rule:  withdrawRule + " Who asks for it meanwhile, and would wait, is told that it does not exist.",
	awake: true,
	check: func(b *bench) {
		b.disks(rounds, func(s, other store, name string, round int) { b.withdrawsAmid(s, other, name, round, store.lockFor) })
	},
}, {
	name:  "those who wait for a lock that is withdrawn are never served",
	rule:  "Requests with the group that wait for a lock fail when it is withdrawn, although it is declared again at once.",
	awake: true,
	check: func(b *bench) {
		b.disks(rounds, func(s, other store, name string, round int) {
			s.admits(name, "ann")
			bob, carl := s.joins(name, "bob"), other.joins(name, "carl")
			b.clash(round, func() {
				s.withdraws(name)
				s.declares(name)
			}, func() {
				b.oneIn(other.unlock(name, "ann"), stores.ErrNotHeld, "Unlock")
			})
			bob.grantedOr(stores.ErrNotDeclared) // if Unlock came first, for a moment
			carl.fails(stores.ErrNotDeclared)
			s.gathers("room/", free(name))
			s.withdraws(name)
		})
	},
}, {
	name:  "a grant and giving up are one or the other",
	rule:  "Unlock ends the wait of its owner, or the lock that it has just got: either way Lock returns, and nobody has it.",
	awake: true,
	check: func(b *bench) {
		b.disks(rounds, func(s, other store, name string, round int) {
			s.admits(name, "ann")
			bob := other.joins(name, "bob")
			b.clash(round, func() { s.frees(name, "ann") }, func() { pick(round, s, other).frees(name, "bob") })
			bob.grantedOr(stores.ErrGaveUp)
			s.admits(name, "carl")
		})
	},
}, {
	name:  "who leaves while the lock is withdrawn leaves nothing behind",
	rule:  "A wait ends once, by the end of ctx or by the withdrawal; its owner may come again.",
	awake: true,
	check: func(b *bench) {
		b.disks(rounds, func(s, other store, name string, round int) {
			s.admits(name, "ann")
			bob := other.joins(name, "bob")
			b.clash(round, func() { s.withdraws(name) }, bob.stop)
			if !bob.returns(b.promptly()) || !errors.Is(bob.err, context.Canceled) {
				bob.fails(stores.ErrNotDeclared)
			}
			s.declares(name)
			s.gathers("room/", free(name))
			other.knocks(name, "bob").gets()
			s.withdraws(name)
		})
	},
}}

// oneIn tells whether a call of many succeeded. One that did not must have the outcome
// want.
func (b *bench) oneIn(err, want error, call string) bool {
	b.want(err == nil || errors.Is(err, want), "%s returned %v, want %v or nothing", call, err, want)
	return err == nil
}

// disks calls f n times, until there is a problem, with clients and a lock that is
// declared.
func (b *bench) disks(n int, f func(s, other store, name string, round int)) {
	s, other := b.open(), b.open()
	b.often(n, func(round int) {
		name := nth("room/disk", round)
		s.declares(name)
		f(s, other, name, round)
	})
}

// clash lets two things happen at once, in each round one of them a little later.
func (b *bench) clash(round int, first, second func()) {
	if round%2 == 1 {
		first, second = second, first
	}
	together(2, func(i int) bool {
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
func (b *bench) withdrawsAmid(s, other store, name string, round int, ask func(store, stores.Request) (stores.Grant, error)) {
	var gone atomic.Bool
	b.clash(round, func() {
		together(7, func(i int) bool {
			b.turnUntilGone(pick(i, s, other), b.member(name, nth("owner", i)), ask, &gone)
			return true
		})
	}, func() {
		s.withdraws(name)
		gone.Store(true)
		s.keeps(name, "anybody", stores.ErrNotHeld)
	})
	b.comesFree(s, name, "zoe")
}

// turnUntilGone takes the declared lock again and again and gives it back, until it is
// withdrawn. After that there must be nothing to give back.
func (b *bench) turnUntilGone(
	s store, req stores.Request, ask func(store, stores.Request) (stores.Grant, error), gone *atomic.Bool,
) {
	name := b.name(req.Key)
	for b.problem() == nil {
		g, err := ask(s, req)
		if !b.oneIn(err, stores.ErrNotDeclared, "asking for a lock that is withdrawn meanwhile") {
			return
		}
		if g.Acquired {
			late := gone.Load()
			had := b.oneIn(s.unlock(name, req.Owner), stores.ErrNotHeld, "Unlock")
			b.want(!late || !had, "%q had %q after it was withdrawn", req.Owner, name)
		}
	}
}

// lockFor is Lock within the bounds of the bench.
func (s store) lockFor(req stores.Request) (stores.Grant, error) {
	ctx, cancel := s.b.limited()
	defer cancel()
	return stores.Lock(ctx, s.Store, req)
}

// grantedOr expects the call to end now, with a grant or with the outcome want.
func (w *waiter) grantedOr(want error) {
	if w.returns(w.s.b.promptly()); w.returned() && w.err == nil {
		w.gets()
		return
	}
	w.fails(want)
}

// ended expects so many of the calls to have ended, now or soon.
func (b *bench) ended(calls []*waiter, want int) {
	n := 0
	b.within(b.promptly(), func() bool {
		n = len(filter(calls, (*waiter).returned))
		return n >= want
	})
	b.want(n == want, "%d of %d calls have ended, want %d", n, len(calls), want)
}

// often calls f with the numbers of n rounds, until there is a problem.
func (b *bench) often(n int, f func(round int)) {
	for round := 0; round < n && b.problem() == nil; round++ {
		f(round)
	}
}

// forAWhile repeats f for as long as something has to go wrong that seldom does.
func (b *bench) forAWhile(f func()) {
	end := time.Now().Add(50 * time.Millisecond)
	for n := 0; (n < 50 || time.Now().Before(end)) && b.problem() == nil; n++ {
		f()
	}
}
