package rtm

import (
	"errors"
	"slices"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// stay keeps the user online by one session after the other. If the first one does not begin, or a later one cannot, he is logged
// out.
func (u *User) stay() {
	for {
		err := u.session()
		if final(err) || !closed(u.arrived) {
			u.leave(err, nil)
		}
		if !pause(u.online) {
			return
		}
	}
}

// final tells whether after the error of a session there is no use in another.
func final(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && slices.Contains([]Code{
		ErrDuplicateUserID, ErrNotLogin, ErrInvalidToken, ErrInvalidUserID, ErrInvalidParameter, ErrServiceNotSupported,
	}, e.Code)
}

// session keeps the user online while a stream lasts that tells what happens to his locks. It always returns an error.
func (u *User) session() error {
	sent := time.Now()
	return listen(u.online, u, opSession, u.rpc.Session, &rtmpb.SessionRequest{Store: u.store, User: u.name, Held: u.claims()},
		func(e *rtmpb.LockEvent) bool {
			u.mu.Lock()
			defer u.mu.Unlock()
			if e.GetEventType() == rtmpb.LockEvent_SNAPSHOT {
				u.begin(e.GetLocks(), sent)
			} else {
				u.happened(e.GetEventType(), detailOf(e, e.GetOwner()))
			}
			return true
		})
}

// claims is what the user believes to hold.
func (u *User) claims() []*rtmpb.LockDetail {
	var claims []*rtmpb.LockDetail
	for _, l := range u.Locks() {
		claims = append(claims, l.wire())
	}
	return claims
}

// begin takes in that the user is online. Of his first session he gets the locks that he had before, which he held when it was
// asked for. Later ones he is asked to prove: what he has lost meanwhile is told, but a snapshot may come after lost events,
// and the server may not know yet of a grant that he knows. The caller holds mu.
func (u *User) begin(rows []*rtmpb.LockDetail, sent time.Time) {
	if closed(u.arrived) {
		u.prove()
		return
	}
	for _, row := range rows {
		u.hold(u.online, detailOf(row, u.name), sent)
	}
	close(u.arrived)
}

// happened takes in a change of a lock that the user has or had. The caller holds mu.
func (u *User) happened(what rtmpb.LockEvent_Type, d Detail) {
	l, cause := u.locks[d.id()], endOf(what)
	switch {
	case l != nil && l.Rev < d.Rev:
		u.drop(l, ErrExpired) // it must have ended before he got it again
	case l != nil && l.Rev == d.Rev && cause != nil:
		u.drop(l, cause)
	}
	if cause == nil {
		return
	}
	u.ended.add(d.id(), d.Rev)
	if a := u.busy[d.id()]; a != nil {
		a.over[d.Rev] = cause
	}
}

// endOf is why a lock ends by such an event, or nil.
func endOf(what rtmpb.LockEvent_Type) error {
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
