package rtm

import (
	"fmt"
	"maps"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// spot is where a lock is: its channel and its name.
type lockID struct {
	kind          channelType
	channel, name string
}

func idOf(l lock) lockID { return lockID{l.kind, l.channel, l.name} }

// replica is what somebody knows of locks who has been told nothing but events.
type replica struct {
	user      string // whose session told them; empty if it was a channel's subscription
	locks     map[lockID]lock
	lastRev   map[lockID]uint64 // the largest token that was ever told
	snapshots int
}

func newReplica(user string) *replica { return &replica{user: user, lastRev: map[lockID]uint64{}} }

// apply takes an event in. It returns an error if that does not fit what is known.
func (r *replica) apply(e event) error {
	at := idOf(e.lock)
	known, exists := r.locks[at]
	switch e.kind {
	case rtmpb.LockEvent_SNAPSHOT:
		return r.applySnapshot(e)
	case rtmpb.LockEvent_SET:
		if exists || e.owner != "" || r.user != "" {
			return fmt.Errorf("%v of %+v, although there is %+v", e, e.lock, known)
		}
		r.locks[at] = e.lock
	case rtmpb.LockEvent_ACQUIRED:
		if known.owner != "" || exists != (r.user == "") || e.rev <= r.lastRev[at] || r.user != "" && e.owner != r.user {
			return fmt.Errorf("%v of %+v, after the token %d, although there is %+v", e, e.lock, r.lastRev[at], known)
		}
		r.locks[at], r.lastRev[at] = e.lock, e.rev
	case rtmpb.LockEvent_REMOVED, rtmpb.LockEvent_RELEASED, rtmpb.LockEvent_EXPIRED:
		if known != e.lock || !exists || e.kind == rtmpb.LockEvent_EXPIRED && r.user == "" {
			return fmt.Errorf("%v of %+v, although there is %+v", e, e.lock, known)
		}
		delete(r.locks, at)
		if e.kind == rtmpb.LockEvent_RELEASED && r.user == "" {
			known.owner, known.rev = "", 0
			r.locks[at] = known
		}
	default:
		return fmt.Errorf("no event: %+v", e)
	}
	return nil
}

// restart takes a snapshot in. It may tell of earlier tokens only those that are known.
func (r *replica) applySnapshot(e event) error {
	r.snapshots++
	r.locks = map[lockID]lock{}
	for _, l := range e.locks {
		if r.user == "" {
			l.channel, l.kind = e.channel, e.lock.kind
		}
		at := idOf(l)
		if l.rev != 0 && l.rev < r.lastRev[at] {
			return fmt.Errorf("a snapshot with %+v, after the token %d", l, r.lastRev[at])
		}
		r.locks[at], r.lastRev[at] = l, max(l.rev, r.lastRev[at])
	}
	return nil
}

// follow takes in what a stream tells, until there is a lock of that name.
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

// compare returns an error if what is known is not what there is.
func (r *replica) compare(want map[lockID]lock) error {
	if maps.Equal(r.locks, want) {
		return nil
	}
	return fmt.Errorf("the events tell %+v, getLock %+v", r.locks, want)
}
