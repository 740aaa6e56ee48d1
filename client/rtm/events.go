package rtm

import (
	"context"
	"iter"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// Event is a change of the locks of a channel.
type Event struct {
	Type  EventType
	Lock  Detail   // the owner is the former one if the lock was released or removed
	Locks []Detail // of a snapshot: all locks of the channel
}

// EventType is the type of a change. Its values are RTM's.
type EventType int32

// The types of changes. [User.Lost] and [Lock.Done] report the loss of the user's own
// locks.
const (
	EventSnapshot = EventType(rtmpb.LockEvent_SNAPSHOT) // Locks replaces earlier state
	EventSet      = EventType(rtmpb.LockEvent_SET)
	EventRemoved  = EventType(rtmpb.LockEvent_REMOVED)
	EventAcquired = EventType(rtmpb.LockEvent_ACQUIRED)
	EventReleased = EventType(rtmpb.LockEvent_RELEASED) // or revoked, or expired
)

// String returns the type in capital letters.
func (t EventType) String() string { return rtmpb.LockEvent_Type(t).String() }

// Events returns an [EventSnapshot] of the channel's locks, and then each change in
// order, until ctx ends or the user is logged out. The last pair has the error. When the
// connection breaks, or the loop is too slow, Events continues with another snapshot.
func (u *User) Events(ctx context.Context, channel Channel) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, cancel := u.withSession(ctx)
		defer cancel()
		request := &rtmpb.SubscribeRequest{Store: u.store, User: u.name, Channel: channel.Name, ChannelType: channel.Type.wire()}
		for {
			err := receive(ctx, u, opSubscribe, u.rpc.Subscribe, request, func(e *rtmpb.LockEvent) bool {
				return yield(eventFromProto(e, channel), nil)
			})
			if err == nil {
				return // the caller's loop has ended
			}
			if isTransient(err) && sleepBeforeRetry(ctx) {
				continue
			}
			if cause := context.Cause(ctx); cause != nil {
				err = interrupted(opSubscribe, cause)
			}
			yield(Event{}, err)
			return
		}
	}
}

func eventFromProto(e *rtmpb.LockEvent, channel Channel) Event {
	event := Event{Type: EventType(e.GetEventType())}
	if event.Type == EventSnapshot {
		event.Locks = detailsFromProto(e.GetLocks(), channel)
	} else {
		event.Lock = detailFromProto(e, e.GetOwner())
	}
	return event
}
