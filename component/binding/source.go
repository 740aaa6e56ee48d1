package binding

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// source is one entry of a binding's keys or channels.
type source interface {
	// watch sends a snapshot and then each change, until ctx ends, send fails, or no more
	// events can follow, and returns the reason. missed reports that the app has missed
	// events before the snapshot.
	watch(ctx context.Context, s *Service, b *binding, missed bool, send func(event []byte) error) error
	// String is the entry.
	String() string
}

// keySource is a lock, or all locks whose keys have a prefix.
type keySource struct {
	entry, prefix string
	exact         bool // the prefix is the whole key
}

// String is the entry.
func (k *keySource) String() string { return k.entry }

// event is an event of a lock, in JSON.
type event struct {
	Kind     string `json:"kind"`
	Revision uint64 `json:"revision"`
	*row            // the lock; nil in a snapshot
	Locks    []row  `json:"locks,omitzero"`   // of the snapshot
	Missed   bool   `json:"missed,omitempty"` // events before the snapshot were missed
	More     bool   `json:"more,omitempty"`   // the next event continues the snapshot
}

func (k *keySource) watch(ctx context.Context, s *Service, b *binding, missed bool, send func([]byte) error) error {
	request := &lockspb.WatchRequest{Store: b.store, Prefix: k.prefix}
	return s.locks.Watch(request, localStream[lockspb.WatchResponse]{ctx: ctx, send: func(m *lockspb.WatchResponse) error {
		rows := newRows(m.GetLocks())
		if k.exact {
			rows = slices.DeleteFunc(rows, func(r row) bool { return r.Key != k.prefix })
		}
		e := event{Kind: m.GetKind().String(), Revision: m.GetRevision()}
		if m.GetKind() != lockspb.WatchResponse_SNAPSHOT {
			return e.sendChanges(rows, send)
		}
		e.Locks, e.Missed, e.More = rows, m.GetMissed() || missed, m.GetMore()
		missed = missed && m.GetMore()
		return e.sendSnapshot(send)
	}})
}

// sendChanges sends the event once for each of the locks.
func (e event) sendChanges(rows []row, send func([]byte) error) error {
	for _, r := range rows {
		r.Remaining = "" // has no meaning in a change
		e.row = &r
		text, err := encode(e)
		if err != nil {
			return err
		}
		if err := send(text); err != nil {
			return err
		}
	}
	return nil
}

// sendSnapshot sends a snapshot in as many events as it needs.
func (e event) sendSnapshot(send func([]byte) error) error {
	text, err := encode(e)
	if err != nil {
		return err
	}
	half := len(e.Locks) / 2
	if len(text) <= maxData || half == 0 {
		return send(text)
	}
	head, tail := e, e
	head.Locks, head.More = e.Locks[:half], true
	tail.Locks = e.Locks[half:]
	if err := head.sendSnapshot(send); err != nil {
		return err
	}
	return tail.sendSnapshot(send)
}

// channelTypes are the types of channels that have locks, by name.
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

// watch sends RTM's own events. Their snapshots do not report missed events; each one
// replaces what the app knows.
func (c *channelSource) watch(ctx context.Context, s *Service, b *binding, _ bool, send func([]byte) error) error {
	request := &rtmpb.SubscribeRequest{Store: b.store, User: b.user, Channel: c.channel, ChannelType: c.kind}
	return s.channels.Subscribe(request, localStream[rtmpb.LockEvent]{ctx: ctx, send: func(m *rtmpb.LockEvent) error {
		return send(s.channels.Event(m))
	}})
}

// localStream is the server's end of a stream whose client is a function in this process.
type localStream[M any] struct {
	grpc.ServerStream
	ctx  context.Context
	send func(*M) error
}

// Context returns the call's context.
func (s localStream[M]) Context() context.Context { return s.ctx }

// Send calls send.
func (s localStream[M]) Send(m *M) error { return s.send(m) }

// SetHeader does nothing.
func (s localStream[M]) SetHeader(metadata.MD) error { return nil }

// SendHeader does nothing.
func (s localStream[M]) SendHeader(metadata.MD) error { return nil }

// SetTrailer does nothing.
func (s localStream[M]) SetTrailer(metadata.MD) {}
