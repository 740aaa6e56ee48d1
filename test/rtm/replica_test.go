package rtm

import (
	"fmt"
	"maps"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// lockID identifies a lock.
type lockID struct {
	kind          channelType
	channel, name string
}

func idOf(l lock) lockID { return lockID{l.kind, l.channel, l.name} }

// replica is the state of locks according to the events of a stream.
type replica struct {
	user      string // of the session; empty for a subscription
	locks     map[lockID]lock
	lastRev   map[lockID]uint64 // largest token in events so far
	snapshots int               // number of snapshots so far
}

func newReplica(user string) *replica { return &replica{user: user, lastRev: map[lockID]uint64{}} }

// apply applies an event. It returns an error if the event contradicts the earlier ones.
func (r *replica) apply(e event) error {
	at := idOf(e.lock)
	known, exists := r.locks[at]
	switch e.kind {
	case rtmpb.LockEvent_SNAPSHOT:
		return r.applySnapshot(e)
	case rtmpb.LockEvent_SET:
		if exists || e.owner != "" || r.user != "" {
			return fmt.Errorf("%v of %+v after %+v", e, e.lock, known)
		}
		r.locks[at] = e.lock
	case rtmpb.LockEvent_ACQUIRED:
		if known.owner != "" || exists != (r.user == "") || e.rev <= r.lastRev[at] || r.user != "" && e.owner != r.user {
			return fmt.Errorf("%v of %+v after the token %d and %+v", e, e.lock, r.lastRev[at], known)
		}
		r.locks[at], r.lastRev[at] = e.lock, e.rev
	case rtmpb.LockEvent_REMOVED, rtmpb.LockEvent_RELEASED, rtmpb.LockEvent_EXPIRED:
		if known != e.lock || !exists || e.kind == rtmpb.LockEvent_EXPIRED && r.user == "" {
			return fmt.Errorf("%v of %+v after %+v", e, e.lock, known)
		}
		delete(r.locks, at)
		if e.kind == rtmpb.LockEvent_RELEASED && r.user == "" {
			known.owner, known.rev = "", 0
			r.locks[at] = known
		}
	default:
		return fmt.Errorf("unknown type of event %+v", e)
	}
	return nil
}

// applySnapshot replaces the locks. It returns an error if a token has decreased.
func (r *replica) applySnapshot(e event) error {
	r.snapshots++
	r.locks = map[lockID]lock{}
	for _, l := range e.locks {
		if r.user == "" {
			l.channel, l.kind = e.channel, e.lock.kind
		}
		at := idOf(l)
		if l.rev != 0 && l.rev < r.lastRev[at] {
			return fmt.Errorf("snapshot with %+v after the token %d", l, r.lastRev[at])
		}
		r.locks[at], r.lastRev[at] = l, max(l.rev, r.lastRev[at])
	}
	return nil
}

// follow applies the events of a stream until a lock of that name exists.
func (r *replica) follow(s stream, last string) error {
	for {
		e, err := s.next()
		if err != nil {
			return err
		}
		if err := r.apply(e); err != nil {
			return err
		}
		for at := range r.locks {
			if at.name == last {
				return nil
			}
		}
	}
}

// compare returns an error if the locks differ from want.
func (r *replica) compare(want map[lockID]lock) error {
	if maps.Equal(r.locks, want) {
		return nil
	}
	return fmt.Errorf("locks according to events = %+v, getLock = %+v", r.locks, want)
}
