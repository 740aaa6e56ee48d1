package rtm

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"google.golang.org/grpc"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// Subscribe sends a snapshot of the locks of a channel, and then each change.
func (s *Service) Subscribe(m *rtmpb.SubscribeRequest, stream grpc.ServerStreamingServer[rtmpb.LockEvent]) error {
	return statusError("RTMSubscribeOperation", s.subscribe(stream.Context(), m, stream.Send))
}

func (s *Service) subscribe(ctx context.Context, m *rtmpb.SubscribeRequest, send func(*rtmpb.LockEvent) error) error {
	c, err := channelOf(m)
	if err != nil {
		return err
	}
	u, err := s.userOf(ctx, m)
	if err != nil {
		return err
	}
	return s.hubs.use(ctx, u.store, func(h *hub) error {
		f := h.subscribe(c)
		defer h.unsubscribe(c, f)
		return h.stream(ctx, f, send)
	})
}

// subscribe returns a feed of the channel's events.
func (h *hub) subscribe(c channel) *feed {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := newFeed(func() *rtmpb.LockEvent { return h.channelSnapshot(c) })
	group := c.group()
	if h.subscribers[group] == nil {
		h.subscribers[group] = map[*feed]struct{}{}
	}
	h.subscribers[group][f] = struct{}{}
	return f
}

func (h *hub) unsubscribe(c channel, f *feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	group := c.group()
	if delete(h.subscribers[group], f); len(h.subscribers[group]) == 0 {
		delete(h.subscribers, group)
	}
}

// channelSnapshot returns a snapshot of the channel's locks.
func (h *hub) channelSnapshot(c channel) *rtmpb.LockEvent {
	e := &rtmpb.LockEvent{EventType: rtmpb.LockEvent_SNAPSHOT, Channel: c.name, ChannelType: c.kind}
	for _, l := range sortedByName(h.channels[c.group()]) {
		e.Locks = append(e.Locks, l.detail())
	}
	return e
}

// sortedByName returns the locks sorted by channel and name. The order of the keys
// differs, because they contain escaped names.
func sortedByName(locks map[string]*entry) []*entry {
	return slices.SortedFunc(maps.Values(locks), func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.group(), b.group()), cmp.Compare(a.name, b.name))
	})
}
