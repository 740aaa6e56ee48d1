package rtm

import (
	"context"
	"errors"
	"fmt"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// releaseTimeout bounds the first attempt to release a lock after a failed AcquireLock.
// Later attempts run in the background.
const releaseTimeout = 500 * time.Millisecond

// AcquireLock makes the user the owner of the lock. If another user is its owner,
// AcquireLock fails with [ErrAcquireFailed]; with retry it waits instead, first come
// first served, until ctx ends, ReleaseLock or Logout is called, or the lock is removed.
// If Mortise restarts or its storage is unreachable meanwhile, AcquireLock retries, at
// the end of the queue.
//
// If the user already holds the lock, or waits for it, AcquireLock fails with
// [ErrPerforming]. [User.Locks] returns the locks that the user held at the login.
//
// After an error the lock is not held. If ctx ends or the connection breaks while the
// server may be granting the lock, the lock is released: before AcquireLock returns if
// that takes at most half a second, else in the background. Meanwhile another AcquireLock
// of the same lock waits with retry, and otherwise fails with ErrPerforming.
func (u *User) AcquireLock(ctx context.Context, channel Channel, name string, retry bool) (*Lock, error) {
	a := &attempt{User: u, id: lockID{channel, name}, retry: retry, endedGrants: map[uint64]error{}}
	if err := a.register(ctx); err != nil {
		return nil, err
	}
	l, err := a.run(ctx)
	a.finish(ctx, err)
	return l, err
}

// attempt is one AcquireLock call in progress, or a release in the background. There is
// at most one for each lock, so that a release cannot end the grant of another attempt.
type attempt struct {
	*User
	id           lockID
	retry        bool
	endedGrants  map[uint64]error // by rev: whose end the session reported; guarded by mu
	releaseLater bool             // release the lock unless it is acquired, guarded by mu
	released     chan struct{}    // of a release: closed at its end; else nil
}

// register makes a the attempt of its lock. It waits for a release in the background, and
// fails if there is another AcquireLock call.
func (a *attempt) register(ctx context.Context) error {
	ctx, cancel := a.withSession(ctx)
	defer cancel()
	for {
		other := a.tryRegister()
		switch {
		case other == a:
			return nil
		case other.released == nil || !a.retry:
			reason := fmt.Sprintf("another AcquireLock or a release of %v is in progress", a.id)
			return &Error{Code: ErrPerforming, Operation: opAcquire, Reason: reason}
		}
		select {
		case <-other.released:
		case <-ctx.Done():
			return interrupted(opAcquire, context.Cause(ctx))
		}
	}
}

// tryRegister makes a the attempt of its lock if there is none, and returns the lock's
// attempt.
func (a *attempt) tryRegister() *attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.attempts[a.id] == nil {
		a.attempts[a.id] = a
	}
	return a.attempts[a.id]
}

// run retries requests until one succeeds or fails for good.
func (a *attempt) run(ctx context.Context) (*Lock, error) {
	for retried := false; ; retried = true {
		l, err := a.send(ctx, retried)
		if err == nil || !a.retry || !isTransient(err) && !(retried && a.mayBeGranted(err)) {
			return l, err
		}
		waiting, cancel := a.withSession(ctx)
		slept := sleepBeforeRetry(waiting)
		cancel()
		if !slept {
			return nil, interruptedWithReason(err, opAcquire, context.Cause(waiting))
		}
	}
}

// mayBeGranted reports whether an error can mean that an earlier request, whose response
// was lost, has acquired the lock or still waits for it.
func (a *attempt) mayBeGranted(err error) bool {
	return errors.Is(err, ErrPerforming) && a.lockByID(a.id) == nil
}

// send sends one request. If the response to an earlier one may have been lost, the
// server's response that the user holds the lock is the grant of that request.
func (a *attempt) send(ctx context.Context, retried bool) (*Lock, error) {
	if !a.retry {
		bound, cancel := withOperationTimeout(ctx)
		defer cancel()
		ctx = bound
	}
	sent := time.Now()
	resp, err := call(ctx, a.User, opAcquire, a.rpc.AcquireLock, &rtmpb.AcquireLockRequest{
		Store: a.store, User: a.name, Channel: a.id.channel.Name, ChannelType: a.id.channel.Type.wire(), LockName: a.id.name,
		Retry: a.retry,
	})
	switch d := detailFromProto(resp, a.name); {
	case err == nil && time.Since(sent) < d.TTL/3:
		return a.granted(ctx, d, sent)
	case err == nil || retried && a.mayBeGranted(err):
		return a.confirm(ctx, d, err)
	}
	return nil, err
}

// confirm asks the server whether the user holds the lock; claim is the grant if err is
// nil. If the user does not hold it, confirm returns err, or if that is nil an error that
// the grant has expired.
func (a *attempt) confirm(ctx context.Context, claim Detail, err error) (*Lock, error) {
	var claims []*rtmpb.LockDetail
	if err == nil {
		claims = append(claims, claim.wire())
	}
	sent := time.Now()
	resp, failure := a.keepAlive(ctx, claims)
	if failure != nil {
		return nil, asOperation(opAcquire, failure)
	}
	for _, row := range resp.GetLocks() {
		if d := detailFromProto(row, a.name); d.id() == a.id && a.notEnded(d) {
			return a.granted(ctx, d, sent)
		}
	}
	if err == nil {
		reason := fmt.Sprintf("the grant of %v expired before its response arrived", a.id)
		err = &Error{Code: ErrOperationTimeout, Operation: opAcquire, Reason: reason}
	}
	return nil, err
}

// granted returns the Lock of a grant that was valid at the time alive. It may have ended
// since then.
func (a *attempt) granted(ctx context.Context, d Detail, alive time.Time) (*Lock, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sessionCtx.Err() != nil {
		return nil, interrupted(opAcquire, a.Err())
	}
	l := a.addLock(ctx, d, alive)
	if cause := a.endedGrants[d.Rev]; cause != nil {
		a.endLock(l, cause)
	}
	return l, nil
}

// finish ends the attempt. If it failed but the server may have granted the lock, finish
// releases the lock first.
func (a *attempt) finish(ctx context.Context, err error) {
	if a.finishNow(err) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	failure := a.unlock(ctx, a.id)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.attempts, a.id)
	if isTransient(failure) {
		a.releaseInBackground(a.id)
	}
}

// finishNow ends the attempt unless the lock must be released first, and reports whether
// it ended the attempt.
func (a *attempt) finishNow(err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil && a.locks[a.id] == nil && (a.releaseLater || !isNotGranted(err)) {
		return false
	}
	delete(a.attempts, a.id)
	return true
}

// releaseInBackground releases a lock that the server may have granted to the user. It
// retries until the server responds or the user logs out, when the TTL ends the lock. If
// an attempt is in progress, that releases the lock at its end, unless it acquires the
// lock. The caller holds mu.
func (u *User) releaseInBackground(id lockID) {
	switch a := u.attempts[id]; {
	case u.sessionCtx.Err() != nil || u.locks[id] != nil:
		return
	case a != nil:
		a.releaseLater = true
		return
	}
	a := &attempt{endedGrants: map[uint64]error{}, released: make(chan struct{})}
	u.attempts[id] = a
	u.background.Go(func() {
		defer close(a.released)
		for isTransient(u.tryUnlock(id)) && sleepBeforeRetry(u.sessionCtx) {
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.attempts, id)
	})
}

func (u *User) tryUnlock(id lockID) error {
	ctx, cancel := withOperationTimeout(u.sessionCtx)
	defer cancel()
	return u.unlock(ctx, id)
}

// unlock sends the release of the lock.
func (u *User) unlock(ctx context.Context, id lockID) error {
	_, err := call(ctx, u, opRelease, u.rpc.ReleaseLock, &rtmpb.ReleaseLockRequest{
		Store: u.store, User: u.name, Channel: id.channel.Name, ChannelType: id.channel.Type.wire(), LockName: id.name,
	})
	return err
}

// ReleaseLock releases the user's lock, or cancels the user's wait for it. The [Lock]
// ends before the request is sent. ReleaseLock fails with [ErrLockNotAcquired] if the
// user does not hold the lock, and with [ErrLockNotExist] if the lock does not exist.
//
// It uses ctx's values but ignores its end, and takes at most ten seconds. If Mortise
// does not respond, ReleaseLock fails, and the client retries the release in the
// background.
func (u *User) ReleaseLock(ctx context.Context, channel Channel, name string) error {
	id := lockID{channel, name}
	l := u.lockByID(id)
	u.endLockOnce(l, ErrReleased)
	return u.release(ctx, id, l)
}

// release releases a lock whose Lock has ended; l is that Lock, or nil.
func (u *User) release(ctx context.Context, id lockID, l *Lock) error {
	ctx, cancel := withOperationTimeout(context.WithoutCancel(ctx))
	defer cancel()
	err := u.unlock(ctx, id)
	switch {
	case err == nil:
		u.endConfirmed(l, ErrReleased)
	case isTransient(err):
		u.mu.Lock()
		defer u.mu.Unlock()
		u.releaseInBackground(id)
	}
	return err
}
