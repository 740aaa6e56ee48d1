package conformance

import (
	"errors"
	"strings"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// Rows call a declared lock by a name with a slash: its group is what comes before, and
// the slash.

// groupOf returns the name of the group of the lock called name.
func groupOf(name string) string {
	group, _, _ := strings.Cut(name, "/")
	return group + "/"
}

// declaration returns a declaration of the lock called name, without a limit.
func (f *fixture) declaration(name string, ttl time.Duration) stores.Declaration {
	return stores.Declaration{Group: f.key(groupOf(name)), Key: f.key(name), TTL: ttl}
}

// member returns a request for the lock called name as one of its group.
func (f *fixture) member(name, owner string) stores.Request {
	return stores.Request{Group: f.key(groupOf(name)), Key: f.key(name), Owner: owner}
}

// declare is Declare within the bounds of the bench.
func (s store) declare(d stores.Declaration) error {
	ctx, cancel := s.f.callContext()
	defer cancel()
	return stores.Declare(ctx, s.Store, d)
}

// declares expects the locks to be declared, each to last for longer than the row.
func (s store) mustDeclare(names ...string) {
	for _, name := range names {
		s.mustDeclareFor(name, lease)
	}
}

// declaresFor expects the lock to be declared to last for ttl.
func (s store) mustDeclareFor(name string, ttl time.Duration) {
	s.mustDeclareAs(s.f.declaration(name, ttl))
}

// declaresAs expects the lock to be declared as d says.
func (s store) mustDeclareAs(d stores.Declaration) {
	if err := s.declare(d); err != nil {
		s.f.failf("Declare of %q failed: %v", s.f.name(d.Key), err)
	}
}

// declines expects Declare to fail with the outcome want.
func (s store) declareFails(d stores.Declaration, want error) {
	if err := s.declare(d); !errors.Is(err, want) {
		s.f.failf("Declare of %q with limit %d returned %v, want %v", s.f.name(d.Key), d.Limit, err, want)
	}
}

// withdraw is Withdraw within the bounds of the bench.
func (s store) withdraw(name string) error {
	ctx, cancel := s.f.callContext()
	defer cancel()
	return stores.Withdraw(ctx, s.Store, s.f.key(groupOf(name)), s.f.key(name))
}

// withdraws expects the lock to be withdrawn.
func (s store) mustWithdraw(name string) {
	if err := s.withdraw(name); err != nil {
		s.f.failf("Withdraw of %q failed: %v", name, err)
	}
}

// lacks expects Withdraw to find no such lock in the group.
func (s store) withdrawFails(name string) {
	if err := s.withdraw(name); !errors.Is(err, stores.ErrNotDeclared) {
		s.f.failf("Withdraw of %q returned %v, want %v", name, err, stores.ErrNotDeclared)
	}
}

// admits expects owner to be given the declared lock.
func (s store) mustLockMember(name, owner string) stores.Grant {
	return s.mustLockRequest(s.f.member(name, owner))
}

// bars expects owner not to be given the declared lock, because somebody else has it.
func (s store) mustRefuseMember(name, owner string) {
	g, err := s.tryLockRequest(s.f.member(name, owner))
	s.f.want(err == nil, "TryLock of %q by %q failed instead of being refused: %v", name, owner, err)
	s.f.want(g == stores.Grant{}, "TryLock of %q by %q returned %+v", name, owner, g)
}

// rejects expects TryLock of the declared lock to fail with the outcome want, and to give
// nothing.
func (s store) lockMemberFails(name, owner string, want error) {
	g, err := s.tryLockRequest(s.f.member(name, owner))
	s.f.want(errors.Is(err, want), "TryLock of %q by %q returned %+v and %v, want %v", name, owner, g, err, want)
	s.f.want(g == stores.Grant{}, "TryLock of %q by %q failed and granted %+v", name, owner, g)
}

// joins begins to wait for the declared lock, which is held, and returns when the store
// tells that somebody more waits.
func (s store) waitMember(name, owner string) *waiter {
	return s.startWaitRequest(s.f.member(name, owner))
}

// knocks begins to ask for the declared lock, whether or not that means to wait.
func (s store) startLockMember(name, owner string) *waiter {
	return s.startLockRequest(s.f.member(name, owner))
}

// group is Group within the bounds of the bench, with the keys as the row knows them.
func (s store) group(group string) []stores.LockInfo {
	ctx, cancel := s.f.callContext()
	defer cancel()
	locks, err := stores.Group(ctx, s.Store, s.f.key(group))
	if err != nil {
		s.f.failf("Group of %q failed: %v", group, err)
	}
	return s.f.ownLocks(locks)
}

// gathers expects exactly these locks in the group, in this order.
func (s store) mustGroup(group string, want ...stores.LockInfo) { s.f.wantLocks(s.group(group), want) }

// gathered expects so many locks in the group.
func (s store) mustGroupLen(group string, want int) {
	got := s.group(group)
	s.f.want(len(got) == want, "%q has %d locks, want %d: %+v", group, len(got), want, got)
}

// free is a lock that is declared and that nobody holds.
func freeLock(name string) stores.LockInfo { return stores.LockInfo{Key: name, DeclaredTTL: lease} }

// declared is the lock as it is told after it was declared.
func declaredLock(l stores.LockInfo) stores.LockInfo {
	l.DeclaredTTL = lease
	return l
}

// freeAll are locks that are declared and that nobody holds.
func freeLocks(names ...string) (locks []stores.LockInfo) {
	for _, name := range names {
		locks = append(locks, freeLock(name))
	}
	return locks
}
