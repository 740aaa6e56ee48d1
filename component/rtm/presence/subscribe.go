package presence

import (
	"cmp"
	"maps"
	"slices"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// subscribe returns a feed of the channel's events.
func (h *hub) subscribe(c Channel) *feed {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := newFeed(func() *rtmpb.LockEvent { return h.channelSnapshot(c) })
	group := c.Group()
	if h.subscribers[group] == nil {
		h.subscribers[group] = map[*feed]struct{}{}
	}
	h.subscribers[group][f] = struct{}{}
	return f
}

func (h *hub) unsubscribe(c Channel, f *feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	group := c.Group()
	if delete(h.subscribers[group], f); len(h.subscribers[group]) == 0 {
		delete(h.subscribers, group)
	}
}

// channelSnapshot returns a snapshot of the channel's locks.
func (h *hub) channelSnapshot(c Channel) *rtmpb.LockEvent {
	e := &rtmpb.LockEvent{EventType: rtmpb.LockEvent_SNAPSHOT, Channel: c.Name, ChannelType: c.Kind}
	for _, l := range sortedByName(h.channels[c.Group()]) {
		e.Locks = append(e.Locks, l.Detail())
	}
	return e
}

// sortedByName returns the locks sorted by channel and name. The order of the keys
// differs, because they contain escaped names.
func sortedByName(locks map[string]*entry) []*entry {
	return slices.SortedFunc(maps.Values(locks), func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.Group(), b.Group()), cmp.Compare(a.Name, b.Name))
	})
}
