package rtm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mortise-lock/mortise/client"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

const (
	// clockCheckInterval is how often a lock compares the clocks, at least. A machine that slept is
	// found out so much later.
	clockCheckInterval = time.Second
	// revalidateTimeout bounds one question whether the user is still known.
	revalidateTimeout = 3 * time.Second
)

// Lock is a lock that the user acquired. It stays his until he releases it, it is revoked
// or removed, or he is offline for longer than its TTL. All methods are safe for
// concurrent use.
type Lock struct {
	Detail // as acquired, not to be changed; Owner is the user, and Rev the fencing token

	user  *User
	ctx   context.Context
	end   context.CancelCauseFunc
	timer *time.Timer // runs look

	// Guarded by user.mu.
	validUntil     time.Time // when it can be believed in no longer: a TTL after the user surely had it last
	wallValidUntil time.Time // until by the wall clock, which goes on while the machine sleeps
	reportedLost   bool      // the server has said that the user has lost it
}

// Context is for the work under the lock, and ends with it; its cause is then [Lock.Err].
// It has the values of the ctx that the lock was acquired with, but does not end with
// that, which bounds the waiting only.
func (l *Lock) Context() context.Context { return l.ctx }

// Done is closed when the lock has ended.
func (l *Lock) Done() <-chan struct{} { return l.ctx.Done() }

// Err is nil until Done is closed, and then tells why: [ErrReleased], [ErrNotLogin] after
// a Logout or Close, or if it was lost a [client.ErrLost] that is [ErrRevoked],
// [ErrRemoved], [ErrExpired], or an ErrNotLogin.
func (l *Lock) Err() error { return context.Cause(l.ctx) }

// Release is [User.ReleaseLock], but only of this grant: if it has ended, Release returns
// its Err, and leaves a later one of the same lock alone.
func (l *Lock) Release(ctx context.Context) error {
	if !l.user.endLockOnce(l, ErrReleased) {
		return l.Err()
	}
	return l.user.release(ctx, l.id(), l)
}

// addLock begins a lock that the user was surely the owner of at the moment given. ctx's
// values are for the lock's. The caller holds mu.
func (u *User) addLock(ctx context.Context, d Detail, alive time.Time) *Lock {
	if was := u.locks[d.id()]; was != nil {
		u.endLock(was, ErrExpired)
	}
	l := &Lock{Detail: d, user: u}
	l.extend(alive)
	l.ctx, l.end = context.WithCancelCause(context.WithoutCancel(ctx))
	l.timer = time.AfterFunc(l.checkInterval(), l.check)
	u.locks[d.id()] = l
	return l
}

// endLock ends a lock that has not ended. The caller holds mu.
func (u *User) endLock(l *Lock, cause error) {
	delete(u.locks, l.id())
	l.timer.Stop()
	l.end(fmt.Errorf("mortise: %v: %w", l.id(), cause))
	if errors.Is(cause, client.ErrLost) {
		u.lostList = u.lostList.append(l)
	}
}

// endLockOnce ends the lock if there is one that has not ended, and returns whether that was
// so.
func (u *User) endLockOnce(l *Lock, cause error) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if l == nil || l.Err() != nil {
		return false
	}
	u.endLock(l, cause)
	return true
}

// lockByID returns the user's lock, or nil.
func (u *User) lockByID(id lockID) *Lock {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.locks[id]
}

// checkInterval is how often the lock is looked at.
func (l *Lock) checkInterval() time.Duration { return min(l.TTL/10, clockCheckInterval) }

// check ends the lock a TTL after the user surely had it last, and has that proved anew
// when a third of it is over. A lock that is believed to be lost may not be, so it is
// given back.
func (l *Lock) check() {
	u := l.user
	u.mu.Lock()
	defer u.mu.Unlock()
	if l.Err() != nil {
		return
	}
	left := l.remaining()
	switch {
	case left <= 0:
		u.endLock(l, ErrExpired)
		u.releaseInBackground(l.id())
		return
	case left <= l.TTL*2/3:
		u.revalidate()
	}
	l.timer.Reset(min(left, l.checkInterval()))
}

// extend takes in that the user surely had the lock at that moment. The caller holds mu.
func (l *Lock) extend(alive time.Time) {
	l.validUntil = alive.Add(l.TTL)
	l.wallValidUntil = l.validUntil.Round(0)
	l.reportedLost = false
}

// remaining is how long the lock can be believed in, by the clock that says less. The caller
// holds mu.
func (l *Lock) remaining() time.Duration {
	now := time.Now()
	return min(l.validUntil.Sub(now), l.wallValidUntil.Sub(now.Round(0)))
}

// revalidate asks in the background which locks the user has, unless it does already. Those
// last, whatever becomes of his session, for a TTL from when the question was sent. The
// caller holds mu.
func (u *User) revalidate() {
	if u.revalidating || len(u.locks) == 0 || u.sessionCtx.Err() != nil {
		return
	}
	u.revalidating = true
	u.background.Go(func() {
		ctx, cancel := context.WithTimeout(u.sessionCtx, revalidateTimeout)
		defer cancel()
		sent := time.Now()
		resp, _ := u.keepAlive(ctx, u.claims()) // without an answer nothing is proved, and the locks look again
		u.mu.Lock()
		defer u.mu.Unlock()
		u.revalidating = false
		u.applyRevalidation(resp, sent)
	})
}

// applyRevalidation takes in which locks the user has, and which he has lost. The session tells
// better why, so it gets the time until the next proof to do so. The caller holds mu.
func (u *User) applyRevalidation(resp *rtmpb.KeepAliveResponse, sent time.Time) {
	for _, row := range resp.GetLocks() {
		if l := u.locks[detailFromProto(row, "").id()]; l != nil && l.Rev == row.GetLockRev() {
			l.extend(sent)
		}
	}
	for _, row := range resp.GetExpired() {
		l := u.locks[detailFromProto(row, "").id()]
		switch {
		case l == nil || l.Rev != row.GetLockRev():
		case l.reportedLost:
			u.tombstones.add(l.id(), l.Rev)
			u.endLock(l, ErrExpired)
		default:
			l.reportedLost = true
		}
	}
}

// keepAlive asks what the user holds, also of what he claims.
func (u *User) keepAlive(ctx context.Context, claims []*rtmpb.LockDetail) (*rtmpb.KeepAliveResponse, error) {
	return call(ctx, u, opKeepAlive, u.rpc.KeepAlive, &rtmpb.KeepAliveRequest{Store: u.store, User: u.name, Held: claims})
}
