package client

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// clockCheckInterval is how often a lease compares the clocks: the delay after which
	// it detects that the machine slept.
	clockCheckInterval = time.Second
	// renewTimeout bounds one renewal.
	renewTimeout = 5 * time.Second
	// minRetryDelay is the least delay between attempts when the lease is about to end.
	minRetryDelay = 10 * time.Millisecond
)

// renewLoop renews the lease until it ends, and checks the clocks.
func (l *Lease) renewLoop() {
	for l.waitForRenewal() {
		l.renewUntilDone()
	}
}

// waitForRenewal returns true when a third of the TTL has passed since the last renewal,
// and false when the lease has ended.
func (l *Lease) waitForRenewal() bool {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.renewCtx.Done():
			return false
		case <-timer.C:
		}
		l.mu.Lock()
		l.checkExpiry()
		due := time.Until(l.expires) - l.ttl*2/3
		ended := l.err != nil
		l.mu.Unlock()
		switch {
		case ended:
			return false
		case l.noRenew:
			timer.Reset(clockCheckInterval)
		case due <= 0:
			return true
		default:
			timer.Reset(min(due, clockCheckInterval))
		}
	}
}

// renewUntilDone renews the lease, with retries until a renewal succeeds or the lease has
// ended. An attempt takes at most half of the remaining time, so that there is always
// time for another one, and a pause at most a quarter.
func (l *Lease) renewUntilDone() {
	pause := backoff{next: min(50*time.Millisecond, l.ttl/30), max: min(time.Second, l.ttl/10)}
	for {
		done, err := l.beginRenewal()
		if err != nil {
			return
		}
		bound, cancel := context.WithTimeout(l.renewCtx, min(time.Until(l.Expires())/2, renewTimeout))
		err = l.renew(l.renewCtx, bound)
		cancel()
		done()
		if err == nil || l.Err() != nil {
			return
		}
		pause.next = min(pause.next, max(time.Until(l.Expires())/4, minRetryDelay))
		if !pause.sleep(l.renewCtx, l.Expires()) {
			return
		}
	}
}

// expire runs when the timer fires at Expires.
func (l *Lease) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checkExpiry()
}

// checkExpiry ends the lease if it has expired on the monotonic clock or on the wall
// clock. The caller holds mu.
func (l *Lease) checkExpiry() {
	now := time.Now()
	if now.Before(l.expires) && now.Round(0).Before(l.wallExpires) {
		return
	}
	reason := errExpired
	if l.renewErr != nil {
		reason = withCause(errExpired, l.renewErr)
	}
	l.end(l.lostError(reason))
}

// lose ends the lease, if it has not ended.
func (l *Lease) lose(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(l.lostError(reason))
}

func (l *Lease) lostError(reason error) error {
	return wrapOp("lock", l.quoted, withCause(ErrLost, reason))
}

// Reasons for the loss of a lease. None of them is an ErrNotHeld, which means that the
// caller has released the lock.
var (
	errExpired    = errors.New("it has expired")
	errFree       = errors.New("it is free")
	errOtherOwner = errors.New("another owner holds it")
)

// lossReason returns the reason for the loss of a lease whose renewal failed with err.
func lossReason(err error) error {
	var a *rpcError
	switch {
	case !errors.As(err, &a):
	case a.reason == notOwner:
		return errOtherOwner
	case a.reason == notLock:
		return ErrNotLock
	}
	return errFree
}

// errUnlocked is the error of a lease that Unlock has ended.
var errUnlocked = fmt.Errorf("%w any more", ErrNotHeld)

// endForUnlock ends the lease for an Unlock. It returns nil if the lock must be released,
// else the reason why not.
func (l *Lease) endForUnlock() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checkExpiry()
	if l.err == nil {
		l.end(wrapOp("lock", l.quoted, errUnlocked))
	}
	if l.unlocked || !errors.Is(l.err, errUnlocked) {
		return l.err
	}
	return nil
}

// end ends the lease, once. The caller holds mu.
func (l *Lease) end(err error) {
	if l.err != nil {
		return
	}
	l.err = err
	l.timer.Stop()
	l.stopRenewing()
	if errors.Is(err, ErrLost) {
		l.cancel(err)
	} else {
		l.cancel(nil)
	}
	close(l.done)
	l.conn.removeLease(l)
}
