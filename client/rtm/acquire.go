package rtm

import (
	"context"
	"errors"
	"fmt"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// releaseTimeout bounds the first try to give back what nobody waits for any more; later
// ones are made in the background.
const releaseTimeout = 500 * time.Millisecond

// AcquireLock makes the user the lock's owner. If somebody else is, that is an
// [ErrAcquireFailed], or with retry AcquireLock waits, first come first served, until ctx
// ends, ReleaseLock or Logout is called, or the lock is removed. If Mortise restarts or
// its storage is away meanwhile, it goes on asking, at the end of the queue.
//
// If the user holds the lock already, or waits for it, it is an [ErrPerforming]. What he
// held when he logged in is in [User.Locks].
//
// An error means that the lock was not acquired. When the server may be granting it while
// ctx ends or the connection breaks, it is given back: before AcquireLock returns if that
// takes no longer than half a second, else in the background. While that lasts another
// AcquireLock of it waits if it may, and else is ErrPerforming.
func (u *User) AcquireLock(ctx context.Context, channel Channel, name string, retry bool) (*Lock, error) {
	a := &attempt{User: u, id: lockID{channel, name}, retry: retry, endedGrants: map[uint64]error{}}
	if err := a.register(ctx); err != nil {
		return nil, err
	}
	l, err := a.run(ctx)
	a.finish(ctx, err)
	return l, err
}

// attempt is a wish for a lock, or to get rid of it. There is one for each lock, so that
// giving back what one may have been granted cannot end the grant of another.
type attempt struct {
	*User
	id           lockID
	retry        bool
	endedGrants  map[uint64]error // grants that the session said the end of, guarded by mu
	releaseLater bool             // the lock is to be given back unless it is acquired, guarded by mu
	released     chan struct{}    // of an attempt to give it back: closed when it is; else nil
}

// register makes it the attempt for its lock, for which there must be no other. One that
// gives back is waited for.
func (a *attempt) register(ctx context.Context) error {
	ctx, cancel := a.withSession(ctx)
	defer cancel()
	for {
		other := a.tryRegister()
		switch {
		case other == a:
			return nil
		case other.released == nil || !a.retry:
			reason := fmt.Sprintf("the user waits for %v, or it is being given back", a.id)
			return &Error{Code: ErrPerforming, Operation: opAcquire, Reason: reason}
		}
		select {
		case <-other.released:
		case <-ctx.Done():
			return interrupted(opAcquire, context.Cause(ctx))
		}
	}
}

// tryRegister makes it the attempt for its lock if there is none, and returns which is.
func (a *attempt) tryRegister() *attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.attempts[a.id] == nil {
		a.attempts[a.id] = a
	}
	return a.attempts[a.id]
}

// run asks until there is an answer that counts.
func (a *attempt) run(ctx context.Context) (*Lock, error) {
	for again := false; ; again = true {
		l, err := a.send(ctx, again)
		if err == nil || !a.retry || !isTransient(err) && !(again && a.mayBeGranted(err)) {
			return l, err
		}
		waiting, cancel := a.withSession(ctx)
		more := sleepBeforeRetry(waiting)
		cancel()
		if !more {
			return nil, interruptedWithReason(err, opAcquire, context.Cause(waiting))
		}
	}
}

// mayBeGranted tells whether an error can mean that a former request, whose answer was lost,
// has the lock or still waits for it.
func (a *attempt) mayBeGranted(err error) bool {
	return errors.Is(err, ErrPerforming) && a.lockByID(a.id) == nil
}

// send asks once. If a former answer may have been lost, that the user has the lock
// already is a grant: that answer's.
func (a *attempt) send(ctx context.Context, again bool) (*Lock, error) {
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
	case err == nil || again && a.mayBeGranted(err):
		return a.confirm(ctx, d, err)
	}
	return nil, err
}

// confirm asks whether the user has the lock, as he claims if he knows the grant. If he
// has not, it returns err, or if that is nil says that the grant may be lost.
func (a *attempt) confirm(ctx context.Context, claim Detail, err error) (*Lock, error) {
	var claims []*rtmpb.LockDetail
	if err == nil {
		claims = append(claims, claim.wire())
	}
	sent := time.Now()
	resp, trouble := a.keepAlive(ctx, claims)
	if trouble != nil {
		return nil, asOperation(opAcquire, trouble)
	}
	for _, row := range resp.GetLocks() {
		if d := detailFromProto(row, a.name); d.id() == a.id && a.notEnded(d) {
			return a.granted(ctx, d, sent)
		}
	}
	if err == nil {
		reason := fmt.Sprintf("%v was granted, and may be lost already", a.id)
		err = &Error{Code: ErrOperationTimeout, Operation: opAcquire, Reason: reason}
	}
	return nil, err
}

// granted makes a lock of a grant that the user surely had at the moment given. It may
// have ended by now.
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

// finish ends the attempt. If it failed, and the server may nevertheless have granted it,
// the lock is given back first.
func (a *attempt) finish(ctx context.Context, err error) {
	if a.finishNow(err) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	trouble := a.unlock(ctx, a.id)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.attempts, a.id)
	if isTransient(trouble) {
		a.releaseInBackground(a.id)
	}
}

// finishNow ends the attempt unless the lock is to be given back first, and returns whether
// it has ended.
func (a *attempt) finishNow(err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil && a.locks[a.id] == nil && (a.releaseLater || !isNotGranted(err)) {
		return false
	}
	delete(a.attempts, a.id)
	return true
}

// releaseInBackground releases in the background a lock that the user may have and does not want,
// until the server has answered, or he leaves and its TTL ends it. If an attempt is under
// way, that does so at its end, unless it acquires it. The caller holds mu.
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

// unlock asks the server to release the lock.
func (u *User) unlock(ctx context.Context, id lockID) error {
	_, err := call(ctx, u, opRelease, u.rpc.ReleaseLock, &rtmpb.ReleaseLockRequest{
		Store: u.store, User: u.name, Channel: id.channel.Name, ChannelType: id.channel.Type.wire(), LockName: id.name,
	})
	return err
}

// ReleaseLock frees the user's lock, or ends his waiting for it. The [Lock] has ended
// before Mortise hears of it. If the user does not hold it, it is an
// [ErrLockNotAcquired], and if there is no such lock an [ErrLockNotExist].
//
// It uses ctx's values only and not its end, and takes ten seconds at the most. If
// Mortise does not answer it fails, and the lock is given back in the background as soon
// as Mortise does.
func (u *User) ReleaseLock(ctx context.Context, channel Channel, name string) error {
	id := lockID{channel, name}
	l := u.lockByID(id)
	u.endLockOnce(l, ErrReleased)
	return u.release(ctx, id, l)
}

// release releases a lock that has ended here; l is what the user had of it, or nil.
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
