package rtm

import (
	"cmp"
	"errors"
	"slices"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// runSessions keeps the user online: it starts a new session whenever one ends. It logs
// the user out if the first session does not start, or if an error is final.
func (u *User) runSessions() {
	for {
		err := u.runSession()
		if isFinal(err) || !isClosed(u.ready) {
			u.logout(err, nil)
		}
		if !sleepBeforeRetry(u.sessionCtx) {
			return
		}
	}
}

// isFinal reports whether no later session can succeed after the error of a session.
func isFinal(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && slices.Contains([]Code{
		ErrDuplicateUserID, ErrNotLogin, ErrInvalidToken, ErrInvalidUserID, ErrInvalidParameter, ErrServiceNotSupported,
	}, e.Code)
}

// runSession keeps the user online for the duration of one stream, which reports what
// happens to the user's locks. It always returns an error.
func (u *User) runSession() error {
	var failure error
	err := receive(u.sessionCtx, u, opSession, u.rpc.Session, &rtmpb.SessionRequest{Store: u.store, User: u.name, Held: u.claims()},
		func(e *rtmpb.LockEvent) bool {
			if e.GetEventType() == rtmpb.LockEvent_SNAPSHOT {
				failure = u.handleSnapshot(e.GetLocks())
			} else {
				u.handleEvent(e.GetEventType(), detailFromProto(e, e.GetOwner()))
			}
			return failure == nil
		})
	return cmp.Or(failure, err)
}

// claims returns the locks that the user has, as far as the client knows.
func (u *User) claims() []*rtmpb.LockDetail {
	var claims []*rtmpb.LockDetail
	for _, l := range u.Locks() {
		claims = append(claims, l.wire())
	}
	return claims
}

// handleSnapshot handles the first event of a session. The first session restores the
// locks that the user had before the login. A later one only starts a revalidation: the
// server reports locks that were lost meanwhile, but the snapshot may follow lost events
// and may lack a grant that the client knows.
func (u *User) handleSnapshot(rows []*rtmpb.LockDetail) error {
	if !isClosed(u.ready) {
		return u.start(rows)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.revalidate()
	return nil
}

// start starts the first session. The locks in its snapshot may be about to expire, so
// start renews them. Events that arrive meanwhile are handled afterwards.
func (u *User) start(rows []*rtmpb.LockDetail) error {
	var renewed *rtmpb.KeepAliveResponse
	var err error
	sent := time.Now()
	if len(rows) > 0 {
		renewed, err = u.keepAlive(u.sessionCtx, nil)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if err = cmp.Or(err, u.Err()); err != nil {
		return err
	}
	for _, row := range renewed.GetLocks() {
		u.addLock(u.sessionCtx, detailFromProto(row, u.name), sent)
	}
	close(u.ready)
	return nil
}

// handleEvent handles a change of a lock that the user has or had.
func (u *User) handleEvent(event rtmpb.LockEvent_Type, d Detail) {
	u.mu.Lock()
	defer u.mu.Unlock()
	l, cause := u.locks[d.id()], endCause(event)
	switch {
	case l != nil && l.Rev < d.Rev:
		u.endLock(l, ErrExpired) // it must have ended before the later grant
	case l != nil && l.Rev == d.Rev && cause != nil:
		u.endLock(l, cause)
	}
	if cause == nil {
		return
	}
	u.tombstones.add(d.id(), d.Rev)
	if a := u.attempts[d.id()]; a != nil {
		a.endedGrants[d.Rev] = cause
	}
}

// endCause returns the reason for which an event ends a lock, or nil.
func endCause(event rtmpb.LockEvent_Type) error {
	switch event {
	case rtmpb.LockEvent_RELEASED:
		return ErrRevoked
	case rtmpb.LockEvent_REMOVED:
		return ErrRemoved
	case rtmpb.LockEvent_EXPIRED:
		return ErrExpired
	}
	return nil
}
