package memory

import (
	"context"
	"strings"
	"time"

	"github.com/mortise-lock/mortise/internal/eventbuffer"
	"github.com/mortise-lock/mortise/stores"
)

// maxPending is the number of events that are buffered for a slow watcher.
const maxPending = 4096

// watcherSet holds the watchers of a table.
type watcherSet struct {
	set map[*watcher]struct{}

	// revision counts the changes. It begins with the wall clock, so that it grows across
	// a restart as tokens do.
	revision uint64
}

// watcher is one call of Watch.
type watcher struct {
	prefix  string
	since   time.Duration // when its last snapshot was taken, since the table's epoch
	started bool          // a snapshot was taken
	buffer  *eventbuffer.Buffer[stores.Event]
}

// snapshot is the state of the table that a watcher starts from.
type snapshot struct {
	view
	revision uint64
	missed   bool
}

func newWatcherSet(now time.Time) watcherSet {
	return watcherSet{set: map[*watcher]struct{}{}, revision: uint64(now.UnixMicro())}
}

func (a *watcherSet) empty() bool { return len(a.set) == 0 }

// publish adds an event about l, which may be free, to the buffers of the watchers.
func (t *table) publish(kind stores.EventKind, l *lock) {
	t.watchers.revision++
	for w := range t.watchers.set {
		if !strings.HasPrefix(l.key, w.prefix) || kind == stores.EventExpired && l.expires <= w.since {
			continue // not under its prefix, or not held in its snapshot either
		}
		w.buffer.Add(stores.Event{Kind: kind, Revision: t.watchers.revision, Lock: t.describeEvent(l)})
	}
}

// watch calls handle with a snapshot of the locks under prefix and with every change to
// them, until ctx ends, closed is closed or handle fails.
func (t *table) watch(ctx context.Context, prefix string, closed <-chan struct{}, handle func(stores.Event) error) error {
	w := t.subscribe(prefix)
	defer t.unsubscribe(w)
	for {
		select {
		case <-w.buffer.Ready():
		case <-ctx.Done():
		case <-closed:
		}
		if err := ended(ctx, closed); err != nil {
			return err
		}
		for _, e := range t.nextEvents(w) {
			if err := handle(e); err != nil {
				return err
			}
			if err := ended(ctx, closed); err != nil {
				return err
			}
		}
	}
}

// ended returns the error with which a call must end now, or nil.
func ended(ctx context.Context, closed <-chan struct{}) error {
	select {
	case <-closed:
		return stores.ErrClosed
	default:
		return ctx.Err()
	}
}

func (t *table) subscribe(prefix string) *watcher {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := &watcher{prefix: prefix, buffer: eventbuffer.New[stores.Event](maxPending)}
	w.buffer.Drop() // it begins with a snapshot
	w.buffer.Notify()
	t.watchers.set[w] = struct{}{}
	t.setAlarm(time.Now())
	return w
}

func (t *table) unsubscribe(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watchers.set, w)
}

// nextEvents removes and returns the events that w has to send.
func (t *table) nextEvents(w *watcher) []stores.Event {
	events, start := t.takePending(w)
	if start == nil {
		return events
	}
	return []stores.Event{{
		Kind: stores.EventSnapshot, Revision: start.revision, Locks: t.describeView(start.view, w.prefix), Missed: start.missed,
	}}
}

// takePending removes and returns w's buffered events, or takes a snapshot if the buffer
// overflowed or w has just been subscribed.
func (t *table) takePending(w *watcher) ([]stores.Event, *snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	events, dropped := w.buffer.Take()
	if dropped {
		return nil, t.takeSnapshot(w, time.Now())
	}
	return events, nil
}

// takeSnapshot returns the state of now, with which w continues. The caller holds mu.
func (t *table) takeSnapshot(w *watcher, now time.Time) *snapshot {
	v := t.view(now)
	missed := w.started
	w.since, w.started = v.at, true
	return &snapshot{v, t.watchers.revision, missed}
}
