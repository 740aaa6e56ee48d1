// What a scenario is written in: a user of locks who knows what to expect.
package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// minute is a TTL that outlasts every test.
const minute = 60

// user calls one store by one API and fails the test if the answer is another than
// expected.
type user struct {
	t     testing.TB
	api   api
	store string
}

// takes expects to be granted the lock, for a minute.
func (u user) acquires(resource, owner string) {
	u.t.Helper()
	u.acquiresFor(minute, resource, owner)
}

// takesFor expects to be granted the lock for some seconds.
func (u user) acquiresFor(seconds int32, resource, owner string) {
	u.t.Helper()
	if granted, err := u.tryLock(request{resource, owner, seconds}); err != nil || !granted {
		u.t.Fatalf("%s: %s takes %s: got %t, %v; want it granted", u.store, owner, resource, granted, err)
	}
}

// isRefused expects that the lock is held, which is no error.
func (u user) isRefused(resource, owner string) {
	u.t.Helper()
	if granted, err := u.tryLock(request{resource, owner, minute}); err != nil || granted {
		u.t.Fatalf("%s: %s takes %s: got %t, %v; want it refused", u.store, owner, resource, granted, err)
	}
}

// gets expects an unlock to have this outcome.
func (u user) unlockReturns(want status, resource, owner string) {
	u.t.Helper()
	if got, err := u.unlock(request{resource: resource, owner: owner}); err != nil || got != want {
		u.t.Fatalf("%s: %s unlocks %s: got %d, %v; want %d", u.store, owner, resource, got, err, want)
	}
}

// frees expects to give back the lock.
func (u user) unlocks(resource, owner string) {
	u.t.Helper()
	u.unlockReturns(unlocked, resource, owner)
}

// fails expects an error that contains every one of the texts.
func (u user) fails(r request, texts ...string) {
	u.t.Helper()
	granted, err := u.tryLock(r)
	if err == nil || !containsAll(err.Error(), texts) {
		u.t.Fatalf("%s: take %.40q: got %t, %v; want an error with %q", u.store, r.resource, granted, err, texts)
	}
}

// soon polls until the lock is granted, or refused, as wanted. Errors on the way do not
// count.
func (u user) eventuallyTryLock(want bool, resource, owner string) {
	u.t.Helper()
	eventually(u.t, fmt.Sprintf("%s: %s takes %s and gets %t", u.store, owner, resource, want), func() error {
		granted, err := u.tryLock(request{resource, owner, minute})
		if err == nil && granted != want {
			err = fmt.Errorf("got %t", granted)
		}
		return err
	})
}

// within fails the test if what it does takes longer.
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

// checkDiscreet fails the test if an error tells the password.
func (u user) checkNoSecret(err error) {
	u.t.Helper()
	if err != nil && strings.Contains(err.Error(), secret) {
		u.t.Errorf("the error tells the password: %v", err)
	}
}
