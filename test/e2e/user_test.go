// The assertions that scenarios consist of.
package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// minute is a TTL, in seconds, that outlasts every test.
const minute = 60

// user calls one store through one API, and fails the test if a result is not the
// expected one.
type user struct {
	t     testing.TB
	api   api
	store string
}

// acquires fails the test unless the owner is granted the lock, for a minute.
func (u user) acquires(resource, owner string) {
	u.t.Helper()
	u.acquiresFor(minute, resource, owner)
}

// acquiresFor fails the test unless the owner is granted the lock for some seconds.
func (u user) acquiresFor(seconds int32, resource, owner string) {
	u.t.Helper()
	if granted, err := u.tryLock(request{resource, owner, seconds}); err != nil || !granted {
		u.t.Fatalf("%s: %s locks %s: got %t, %v; want true", u.store, owner, resource, granted, err)
	}
}

// isRefused fails the test unless the lock is held, which is not an error.
func (u user) isRefused(resource, owner string) {
	u.t.Helper()
	if granted, err := u.tryLock(request{resource, owner, minute}); err != nil || granted {
		u.t.Fatalf("%s: %s locks %s: got %t, %v; want false", u.store, owner, resource, granted, err)
	}
}

// unlockReturns fails the test unless an unlock returns this status.
func (u user) unlockReturns(want status, resource, owner string) {
	u.t.Helper()
	if got, err := u.unlock(request{resource: resource, owner: owner}); err != nil || got != want {
		u.t.Fatalf("%s: %s unlocks %s: got %d, %v; want %d", u.store, owner, resource, got, err, want)
	}
}

// unlocks fails the test unless the owner releases the lock.
func (u user) unlocks(resource, owner string) {
	u.t.Helper()
	u.unlockReturns(unlocked, resource, owner)
}

// fails fails the test unless a request returns an error that contains every one of the
// texts.
func (u user) fails(r request, texts ...string) {
	u.t.Helper()
	granted, err := u.tryLock(r)
	if err == nil || !containsAll(err.Error(), texts) {
		u.t.Fatalf("%s: lock %.40q: got %t, %v; want an error with %q", u.store, r.resource, granted, err, texts)
	}
}

// eventuallyTryLock retries until the lock is granted or refused, as wanted. It ignores
// errors.
func (u user) eventuallyTryLock(want bool, resource, owner string) {
	u.t.Helper()
	eventually(u.t, fmt.Sprintf("%s: %s locks %s, want %t", u.store, owner, resource, want), func() error {
		granted, err := u.tryLock(request{resource, owner, minute})
		if err == nil && granted != want {
			err = fmt.Errorf("got %t", granted)
		}
		return err
	})
}

// within fails the test if do takes longer than the limit.
func within(t testing.TB, limit time.Duration, do func()) {
	t.Helper()
	begin := time.Now()
	do()
	if took := time.Since(begin); took > limit {
		t.Errorf("took %v, want at most %v", took, limit)
	}
}

func (u user) tryLock(r request) (bool, error) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	granted, err := u.api.tryLock(ctx, u.store, r)
	u.checkNoSecret(err)
	return granted, err
}

func (u user) unlock(r request) (status, error) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	got, err := u.api.unlock(ctx, u.store, r)
	u.checkNoSecret(err)
	return got, err
}

// checkNoSecret fails the test if an error contains the password.
func (u user) checkNoSecret(err error) {
	u.t.Helper()
	if err != nil && strings.Contains(err.Error(), secret) {
		u.t.Errorf("the error contains the password: %v", err)
	}
}
