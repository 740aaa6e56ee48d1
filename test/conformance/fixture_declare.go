package conformance

import (
	"errors"
	"strings"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// Declared locks have names with a slash: the group is the part up to and including it.

// groupOf returns the group of the lock called name.
func groupOf(name string) string {
	group, _, _ := strings.Cut(name, "/")
	return group + "/"
}

// declaration returns a declaration of the lock called name, without a limit.
func (f *fixture) declaration(name string, ttl time.Duration) stores.Declaration {
	return stores.Declaration{Group: f.key(groupOf(name)), Key: f.key(name), TTL: ttl}
}

// member returns a request with a group for the lock called name.
func (f *fixture) member(name, owner string) stores.Request {
	return stores.Request{Group: f.key(groupOf(name)), Key: f.key(name), Owner: owner}
}

// declare calls Declare with a timeout.
func (s store) declare(d stores.Declaration) error {
	ctx, cancel := s.f.callContext()
	defer cancel()
	err := stores.Declare(ctx, s.Store, d)
	if err == nil {
		s.f.noteDeclared(d)
	}
	return err
}

// noteDeclared records the TTL of a declared lock.
func (f *fixture) noteDeclared(d stores.Declaration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.declared[f.name(d.Key)] = d.TTL
}

// mustDeclare expects Declare of each lock to succeed, with a TTL longer than the row
// takes.
func (s store) mustDeclare(names ...string) {
	for _, name := range names {
		s.mustDeclareFor(name, lease)
	}
}

// mustDeclareFor expects Declare of the lock with ttl to succeed.
func (s store) mustDeclareFor(name string, ttl time.Duration) {
	s.mustDeclareAs(s.f.declaration(name, ttl))
}

// mustDeclareAs expects Declare to succeed.
func (s store) mustDeclareAs(d stores.Declaration) {
	if err := s.declare(d); err != nil {
		s.f.failf("Declare of %q failed: %v", s.f.name(d.Key), err)
	}
}

// declareFails expects Declare to fail with want.
func (s store) declareFails(d stores.Declaration, want error) {
	if err := s.declare(d); !errors.Is(err, want) {
		s.f.failf("Declare of %q with limit %d returned %v, want %v", s.f.name(d.Key), d.Limit, err, want)
	}
}

// withdraw calls Withdraw with a timeout.
func (s store) withdraw(name string) error {
	ctx, cancel := s.f.callContext()
	defer cancel()
	err := stores.Withdraw(ctx, s.Store, s.f.key(groupOf(name)), s.f.key(name))
	if err == nil {
		s.f.noteEnd(name)
	}
	return err
}

// mustWithdraw expects Withdraw of the lock to succeed.
func (s store) mustWithdraw(name string) {
	if err := s.withdraw(name); err != nil {
		s.f.failf("Withdraw of %q failed: %v", name, err)
	}
}

// withdrawFails expects Withdraw to fail with ErrNotDeclared.
func (s store) withdrawFails(name string) {
	if err := s.withdraw(name); !errors.Is(err, stores.ErrNotDeclared) {
		s.f.failf("Withdraw of %q returned %v, want %v", name, err, stores.ErrNotDeclared)
	}
}

// mustLockMember expects TryLock with a group to grant the lock to owner.
func (s store) mustLockMember(name, owner string) stores.Grant {
	return s.mustLockRequest(s.f.member(name, owner))
}

// mustRefuseMember expects TryLock with a group to be refused because another owner holds
// the lock.
func (s store) mustRefuseMember(name, owner string) {
	g, err := s.tryLockRequest(s.f.member(name, owner))
	s.f.want(err == nil, "TryLock of %q by %q failed instead of being refused: %v", name, owner, err)
	s.f.want(g == stores.Grant{}, "TryLock of %q by %q returned %+v", name, owner, g)
}

// lockMemberFails expects TryLock with a group to fail with want and to return no grant.
func (s store) lockMemberFails(name, owner string, want error) {
	g, err := s.tryLockRequest(s.f.member(name, owner))
	s.f.want(errors.Is(err, want), "TryLock of %q by %q returned %+v and %v, want %v", name, owner, g, err, want)
	s.f.want(g == stores.Grant{}, "TryLock of %q by %q failed with a grant: %+v", name, owner, g)
}

// waitMember starts a Lock with a group for a held lock, and returns once the store
// reports another waiter.
func (s store) waitMember(name, owner string) *waiter {
	return s.startWaitRequest(s.f.member(name, owner))
}

// startLockMember starts a Lock with a group, whether or not it has to wait.
func (s store) startLockMember(name, owner string) *waiter {
	return s.startLockRequest(s.f.member(name, owner))
}

// group calls Group with a timeout and returns the row's locks under their names.
func (s store) group(group string) []stores.LockInfo {
	ctx, cancel := s.f.callContext()
	defer cancel()
	locks, err := stores.Group(ctx, s.Store, s.f.key(group))
	if err != nil {
		s.f.failf("Group of %q failed: %v", group, err)
	}
	return s.f.ownLocks(locks)
}

// mustGroup expects exactly these locks in the group, in this order.
func (s store) mustGroup(group string, want ...stores.LockInfo) { s.f.wantLocks(s.group(group), want) }

// mustGroupLen expects the group to have want locks.
func (s store) mustGroupLen(group string, want int) {
	got := s.group(group)
	s.f.want(len(got) == want, "%q has %d locks, want %d: %+v", group, len(got), want, got)
}

// freeLock returns the LockInfo of a free declared lock.
func freeLock(name string) stores.LockInfo { return stores.LockInfo{Key: name, DeclaredTTL: lease} }

// declaredLock returns l as it is reported once it is declared.
func declaredLock(l stores.LockInfo) stores.LockInfo {
	l.DeclaredTTL = lease
	return l
}

// freeLocks returns the LockInfos of free declared locks.
func freeLocks(names ...string) (locks []stores.LockInfo) {
	for _, name := range names {
		locks = append(locks, freeLock(name))
	}
	return locks
}
