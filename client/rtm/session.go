package rtm

import (
	"cmp"
	"errors"
	"slices"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// runSessions keeps the user online by one session after the other. If the first one does not
// begin, or a later one cannot, he is logged out.
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

// isFinal tells whether after the error of a session there is no use in another.
func isFinal(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && slices.Contains([]Code{
		ErrDuplicateUserID, ErrNotLogin, ErrInvalidToken, ErrInvalidUserID, ErrInvalidParameter, ErrServiceNotSupported,
	}, e.Code)
}

// runSession keeps the user online while a stream lasts that tells what happens to his
// locks. It always returns an error.
func (u *User) runSession() error {
	var trouble error
	err := receive(u.sessionCtx, u, opSession, u.rpc.Session, &rtmpb.SessionRequest{Store: u.store, User: u.name, Held: u.claims()},
		func(e *rtmpb.LockEvent) bool {
			if e.GetEventType() == rtmpb.LockEvent_SNAPSHOT {
				trouble = u.handleSnapshot(e.GetLocks())
			} else {
				u.handleEvent(e.GetEventType(), detailFromProto(e, e.GetOwner()))
			}
			return trouble == nil
		})
	return cmp.Or(trouble, err)
}

// claims is what the user believes to hold.
func (u *User) claims() []*rtmpb.LockDetail {
	var claims []*rtmpb.LockDetail
	for _, l := range u.Locks() {
		claims = append(claims, l.wire())
	}
	return claims
}

// handleSnapshot takes in that the user is online. When he arrives he gets what he had before, if
// it is renewed for him. Later he is asked to prove what he has: what he lost meanwhile
// is told, but a snapshot may come after lost events, and the server may not know yet of
// a grant that he knows.
func (u *User) handleSnapshot(rows []*rtmpb.LockDetail) error {
	if !isClosed(u.ready) {
		return u.start(rows)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.revalidate()
	return nil
}

// start begins the first session. That he had the locks of its snapshot does not say for
// how long he has them yet, as nothing was renewed for it; so they are asked for. What
// happens meanwhile is heard after that.
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

// handleEvent takes in a change of a lock that the user has or had.
func (u *User) handleEvent(what rtmpb.LockEvent_Type, d Detail) {
	u.mu.Lock()
	defer u.mu.Unlock()
	l, cause := u.locks[d.id()], endCause(what)
	switch {
	case l != nil && l.Rev < d.Rev:
		u.endLock(l, ErrExpired) // it must have ended before he got it again
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

// endCause is why a lock ends by such an event, or nil.
func endCause(what rtmpb.LockEvent_Type) error {
	switch what {
	case rtmpb.LockEvent_RELEASED:
		return ErrRevoked
	case rtmpb.LockEvent_REMOVED:
		return ErrRemoved
	case rtmpb.LockEvent_EXPIRED:
		return ErrExpired
	}
	return nil
}
