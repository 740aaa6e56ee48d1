package binding

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// source is one entry of what a binding's app is told of.
type source interface {
	// watch tells a snapshot and then each change, until ctx ends, tell fails, or no more
	// can come; it returns why. Missed says that there were changes before the snapshot
	// that the app was not told.
	watch(ctx context.Context, s *Service, b *binding, missed bool, tell func(event []byte) error) error
	// String is the entry.
	String() string
}

// keySource is a lock, or all locks whose keys begin alike.
type keySource struct {
	entry, prefix string
	exact         bool // the prefix is the whole key
}

// String is the entry.
func (k *keySource) String() string { return k.entry }

// event is what has happened to a lock, in JSON.
type event struct {
	Kind     string `json:"kind"`
	Revision uint64 `json:"revision"`
	*row            // the lock, but in a snapshot
	Locks    []row  `json:"locks,omitzero"`   // of a snapshot
	Missed   bool   `json:"missed,omitempty"` // of a snapshot: there were changes that were not told
	More     bool   `json:"more,omitempty"`   // of a snapshot: it goes on in the next event
}

func (k *keySource) watch(ctx context.Context, s *Service, b *binding, missed bool, tell func([]byte) error) error {
	request := &lockspb.WatchRequest{Store: b.store, Prefix: k.prefix}
	return s.locks.Watch(request, localStream[lockspb.WatchResponse]{ctx: ctx, send: func(m *lockspb.WatchResponse) error {
		rows := newRows(m.GetLocks())
		if k.exact {
			rows = slices.DeleteFunc(rows, func(r row) bool { return r.Key != k.prefix })
		}
		e := event{Kind: m.GetKind().String(), Revision: m.GetRevision()}
		if m.GetKind() != lockspb.WatchResponse_SNAPSHOT {
			return e.sendChanges(rows, tell)
		}
		e.Locks, e.Missed, e.More = rows, m.GetMissed() || missed, m.GetMore()
		missed = missed && m.GetMore()
		return e.sendSnapshot(tell)
	}})
}

// tellChanges tells that the event has happened to each of the locks.
func (e event) sendChanges(rows []row, tell func([]byte) error) error {
	for _, r := range rows {
		r.Remaining = "" // is of no meaning here
		e.row = &r
		text, err := encode(e)
		if err != nil {
			return err
		}
		if err := tell(text); err != nil {
			return err
		}
	}
	return nil
}

// tellSnapshot tells a snapshot in as many events as it needs.
func (e event) sendSnapshot(tell func([]byte) error) error {
	text, err := encode(e)
	if err != nil {
		return err
	}
	half := len(e.Locks) / 2
	if len(text) <= maxData || half == 0 {
		return tell(text)
	}
	head, tail := e, e
	head.Locks, head.More = e.Locks[:half], true
	tail.Locks = e.Locks[half:]
	if err := head.sendSnapshot(tell); err != nil {
		return err
	}
	return tail.sendSnapshot(tell)
}

// channelTypes are the types of the channels that have locks, by name.
var channelTypes = map[string]rtmpb.ChannelType{
	rtmpb.ChannelType_MESSAGE.String(): rtmpb.ChannelType_MESSAGE,
	rtmpb.ChannelType_STREAM.String():  rtmpb.ChannelType_STREAM,
}

// channelSource is the locks of a channel.
type channelSource struct {
	entry   string
	kind    rtmpb.ChannelType
	channel string
}

// String is the entry.
func (c *channelSource) String() string { return c.entry }

// watch tells RTM's own events. Their snapshots do not say what was missed; each is a new
// beginning.
func (c *channelSource) watch(ctx context.Context, s *Service, b *binding, _ bool, tell func([]byte) error) error {
	request := &rtmpb.SubscribeRequest{Store: b.store, User: b.user, Channel: c.channel, ChannelType: c.kind}
	return s.channels.Subscribe(request, localStream[rtmpb.LockEvent]{ctx: ctx, send: func(m *rtmpb.LockEvent) error {
		return tell(s.channels.Event(m))
	}})
}

// stream is what a service called in this process takes for the client's end.
type localStream[M any] struct {
	grpc.ServerStream
	ctx  context.Context
	send func(*M) error
}

// Context is the call's.
func (s localStream[M]) Context() context.Context { return s.ctx }

// Send gives the message to who has called.
func (s localStream[M]) Send(m *M) error { return s.send(m) }

// SetHeader does nothing.
func (s localStream[M]) SetHeader(metadata.MD) error { return nil }

// SendHeader does nothing.
func (s localStream[M]) SendHeader(metadata.MD) error { return nil }

// SetTrailer does nothing.
func (s localStream[M]) SetTrailer(metadata.MD) {}
