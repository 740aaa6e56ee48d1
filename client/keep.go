package client

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// look is how often a lease compares the clocks. A machine that slept is found out so
	// much later.
	look = time.Second
	// renewTimeout is the most that one renewal may take.
	renewTimeout = 5 * time.Second
	// leastPause keeps attempts apart when the lease is about to end.
	leastPause = 10 * time.Millisecond
)

// keep renews the lease until it ends, and looks at the clocks.
func (l *Lease) keep() {
	for l.waitForRenewal() {
		l.keepTrying()
	}
}

// waitForRenewal returns true when a third of the TTL has passed since the last renewal,
// and false when the lease has ended.
func (l *Lease) waitForRenewal() bool {
	ticker := time.NewTimer(0)
	defer ticker.Stop()
	for {
		select {
		case <-l.renewing.Done():
			return false
		case <-ticker.C:
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
			ticker.Reset(look)
		case due <= 0:
			return true
		default:
			ticker.Reset(min(due, look))
		}
	}
}

// keepTrying renews the lease, again and again until it worked or the lease has ended.
// One attempt gets half of the time that is left, so that there is always time for
// another, and a pause a quarter.
func (l *Lease) keepTrying() {
	pause := pacer{next: min(50*time.Millisecond, l.ttl/30), most: min(time.Second, l.ttl/10)}
	for {
		leave, err := l.enter()
		if err != nil {
			return
		}
		bound, cancel := context.WithTimeout(l.renewing, min(time.Until(l.Expires())/2, renewTimeout))
		err = l.renew(l.renewing, bound)
		cancel()
		leave()
		if err == nil || l.Err() != nil {
			return
		}
		pause.next = min(pause.next, max(time.Until(l.Expires())/4, leastPause))
		if !pause.sleep(l.renewing, l.Expires()) {
			return
		}
	}
}

// expire is called by the timer at Expires.
func (l *Lease) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checkExpiry()
}

// checkExpiry ends the lease if its time is over on the monotonic clock or on the wall
// clock. The caller holds mu.
func (l *Lease) checkExpiry() {
	now := time.Now()
	if now.Before(l.expires) && now.Round(0).Before(l.wall) {
		return
	}
	reason := errExpired
	if l.trouble != nil {
		reason = because(errExpired, l.trouble)
	}
	l.end(l.lost(reason))
}

// lose ends the lease, if it has not ended.
func (l *Lease) lose(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(l.lost(reason))
}

func (l *Lease) lost(reason error) error {
	return failed("lock", l.what, because(ErrLost, reason))
}

// Why a lease is lost. None of them is an ErrNotHeld, which is for those who have given
// the lock back themselves.
var (
	errExpired = errors.New("it has expired")
	errNobodys = errors.New("nobody holds it")
	errOthers  = errors.New("somebody else holds it")
)

// lossOf is what it means for a lease that the server says its lock is gone.
func lossOf(err error) error {
	var a *answer
	switch {
	case !errors.As(err, &a):
	case a.reason == notOwner:
		return errOthers
	case a.reason == notLock:
		return ErrNotLock
	}
	return errNobodys
}

// errUnlocked is how a lease ends that is not lost.
var errUnlocked = fmt.Errorf("%w any more", ErrNotHeld)

// finish ends the lease for an Unlock. It returns why there is nothing to give back, or
// nil.
func (l *Lease) finish() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checkExpiry()
	if l.err == nil {
		l.end(failed("lock", l.what, errUnlocked))
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
	l.stop()
	if errors.Is(err, ErrLost) {
		l.cancel(err)
	} else {
		l.cancel(nil)
	}
	close(l.done)
	l.conn.forget(l)
}
