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
	// clockCheckInterval is the most between two comparisons of the clocks: the delay
	// after which a lock detects that the machine slept.
	clockCheckInterval = time.Second
	// revalidateTimeout bounds one revalidation.
	revalidateTimeout = 3 * time.Second
)

// Lock is a lock that the user acquired. The user keeps it until it is released, revoked
// or removed, or until the user is offline for longer than its TTL. All methods are safe
// for concurrent use.
type Lock struct {
	Detail // as acquired; read-only. Rev is the fencing token

	user  *User
	ctx   context.Context
	end   context.CancelCauseFunc
	timer *time.Timer // runs check

	// Guarded by user.mu.
	validUntil     time.Time // one TTL after the user last certainly had the lock
	wallValidUntil time.Time // on the wall clock, which runs during system sleep
	reportedLost   bool      // the server has reported the loss
}

// Context returns the ctx for the work under the lock. It ends with the lock, with the
// cause [Lock.Err]. It has the values of AcquireLock's ctx but does not end with it: that
// ctx only bounds the wait.
func (l *Lock) Context() context.Context { return l.ctx }

// Done returns a channel that is closed when the lock has ended.
func (l *Lock) Done() <-chan struct{} { return l.ctx.Done() }

// Err returns nil until Done is closed, and then the reason: [ErrReleased]; [ErrNotLogin]
// after a Logout or Close; or after a loss a [client.ErrLost] that also is [ErrRevoked],
// [ErrRemoved], [ErrExpired] or ErrNotLogin.
func (l *Lock) Err() error { return context.Cause(l.ctx) }

// Release is [User.ReleaseLock] for this grant only: if the Lock has ended, Release
// returns its Err, and does not release a later grant of the same lock.
func (l *Lock) Release(ctx context.Context) error {
	if !l.user.endLockOnce(l, ErrReleased) {
		return l.Err()
	}
	return l.user.release(ctx, l.id(), l)
}

// addLock adds a lock that the user certainly had at the time alive. The lock's Context
// has ctx's values. The caller holds mu.
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

// endLockOnce ends the lock, and reports whether it did: not if l is nil or has ended.
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

// checkInterval returns the time between two checks of the lock.
func (l *Lock) checkInterval() time.Duration { return min(l.TTL/10, clockCheckInterval) }

// check ends the lock one TTL after the user last certainly had it, and revalidates it
// after a third of the TTL. The server may still hold a lock that ends here, so check
// releases it.
func (l *Lock) check() {
	u := l.user
	u.mu.Lock()
	defer u.mu.Unlock()
	if l.Err() != nil {
		return
	}
	remaining := l.remaining()
	switch {
	case remaining <= 0:
		u.endLock(l, ErrExpired)
		u.releaseInBackground(l.id())
		return
	case remaining <= l.TTL*2/3:
		u.revalidate()
	}
	l.timer.Reset(min(remaining, l.checkInterval()))
}

// extend records that the user certainly had the lock at the time alive. The caller holds
// mu.
func (l *Lock) extend(alive time.Time) {
	l.validUntil = alive.Add(l.TTL)
	l.wallValidUntil = l.validUntil.Round(0)
	l.reportedLost = false
}

// remaining returns how long the lock is valid, on the clock on which that is shorter.
// The caller holds mu.
func (l *Lock) remaining() time.Duration {
	now := time.Now()
	return min(l.validUntil.Sub(now), l.wallValidUntil.Sub(now.Round(0)))
}

// revalidate requests in the background which locks the user has, unless such a request
// is in progress. These locks last for at least one TTL from when the request was sent,
// whatever happens to the session. The caller holds mu.
func (u *User) revalidate() {
	if u.revalidating || len(u.locks) == 0 || u.sessionCtx.Err() != nil {
		return
	}
	u.revalidating = true
	u.background.Go(func() {
		ctx, cancel := context.WithTimeout(u.sessionCtx, revalidateTimeout)
		defer cancel()
		sent := time.Now()
		resp, _ := u.keepAlive(ctx, u.claims()) // after an error, check retries
		u.mu.Lock()
		defer u.mu.Unlock()
		u.revalidating = false
		u.applyRevalidation(resp, sent)
	})
}

// applyRevalidation extends the locks that the user has, and ends those that are lost.
// The session reports the reason of a loss, so a lock ends only when the next
// revalidation reports the loss again. The caller holds mu.
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

// keepAlive requests the locks that the user has, and which of the claims have expired.
func (u *User) keepAlive(ctx context.Context, claims []*rtmpb.LockDetail) (*rtmpb.KeepAliveResponse, error) {
	return call(ctx, u, opKeepAlive, u.rpc.KeepAlive, &rtmpb.KeepAliveRequest{Store: u.store, User: u.name, Held: claims})
}
