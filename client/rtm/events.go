package rtm

import (
	"context"
	"iter"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// Event is something that happened to the locks of a channel.
type Event struct {
	Type  EventType
	Lock  Detail   // which one; its Owner is who has it now, and if it was released or removed who had it. Not of a Snapshot
	Locks []Detail // of a Snapshot: all locks of the channel
}

// EventType says what happened, with RTM's number.
type EventType int32

// What can happen to a channel's locks. That the user himself has lost one is told by
// [User.Lost] and [Lock.Done].
const (
	EventSnapshot = EventType(rtmpb.LockEvent_SNAPSHOT) // nothing: what follows is a new beginning
	EventSet      = EventType(rtmpb.LockEvent_SET)
	EventRemoved  = EventType(rtmpb.LockEvent_REMOVED)
	EventAcquired = EventType(rtmpb.LockEvent_ACQUIRED)
	EventReleased = EventType(rtmpb.LockEvent_RELEASED) // or revoked, or the owner was offline for too long
)

// String returns the type in capital letters.
func (t EventType) String() string { return rtmpb.LockEvent_Type(t).String() }

// Events returns a [Snapshot] of the channel's locks, and then each change in order,
// until ctx ends or the user is logged out; the last thing is the error that says so.
// When the connection breaks, or the loop is too slow, it goes on with another Snapshot.
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
				return // the loop has ended
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
