package memory

import (
	"context"
	"strings"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// maxNews is how many events are kept for a watcher that is slow.
const maxPending = 4096

// audience is who watches.
type watcherSet struct {
	set      map[*watcher]struct{}
	revision uint64 // counts the changes; begins with the wall clock, so that it grows across a restart as tokens do
}

// watcher is one call of Watch.
type watcher struct {
	prefix   string
	since    time.Duration  // when its last snapshot was taken, since the table's epoch
	snapshot *snapshot      // to be told before the news; nil if it was
	pending  []stores.Event // not yet told
	missed   bool           // some were dropped
	wake     chan struct{}  // has an element if there are news
}

// snapshot is a new beginning for a watcher.
type snapshot struct {
	view
	revision uint64
	missed   bool
}

func newWatcherSet(now time.Time) watcherSet {
	return watcherSet{set: map[*watcher]struct{}{}, revision: uint64(now.UnixMicro())}
}

func (a *watcherSet) empty() bool { return len(a.set) == 0 }

// tell lets those who watch l, which may be vacant, know what happened to it.
func (t *table) publish(what stores.EventKind, l *lock) {
	t.watchers.revision++
	for w := range t.watchers.set {
		if !strings.HasPrefix(l.key, w.prefix) || what == stores.EventExpired && l.expires <= w.since {
			continue // not its business, or it was told that nobody holds l
		}
		w.add(stores.Event{Kind: what, Revision: t.watchers.revision, Lock: t.describeEvent(l)})
	}
}

func (w *watcher) add(e stores.Event) {
	switch {
	case w.missed:
	case len(w.pending) < maxPending:
		w.pending = append(w.pending, e)
	default:
		w.pending, w.missed = nil, true
	}
	w.notify()
}

// rouse tells w that there are news.
func (w *watcher) notify() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// watch tells a snapshot of the locks under prefix and every change to them, until ctx
// ends, closed is closed or tell fails.
func (t *table) watch(ctx context.Context, prefix string, closed <-chan struct{}, tell func(stores.Event) error) error {
	w := t.subscribe(prefix)
	defer t.unsubscribe(w)
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
		case <-closed:
		}
		if err := ended(ctx, closed); err != nil {
			return err
		}
		for _, e := range t.nextEvents(w) {
			if err := tell(e); err != nil {
				return err
			}
			if err := ended(ctx, closed); err != nil {
				return err
			}
		}
	}
}

// ended returns the reason for a call to end, or nil if there is none.
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
	w := &watcher{prefix: prefix, wake: make(chan struct{}, 1)}
	now := time.Now()
	t.resubscribe(w, now)
	w.notify()
	t.watchers.set[w] = struct{}{}
	t.setAlarm(now)
	return w
}

func (t *table) unsubscribe(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watchers.set, w)
}

// restart lets w begin with a snapshot of now.
func (t *table) resubscribe(w *watcher, now time.Time) {
	v := t.view(now)
	w.since = v.at
	w.snapshot = &snapshot{v, t.watchers.revision, w.missed}
	w.pending, w.missed = nil, false
}

// collect returns the news of w, of which it is relieved.
func (t *table) nextEvents(w *watcher) []stores.Event {
	begin, news := t.takePending(w)
	if begin == nil {
		return news
	}
	return append([]stores.Event{{
		Kind: stores.EventSnapshot, Revision: begin.revision, Locks: t.describeView(begin.view, w.prefix), Missed: begin.missed,
	}}, news...)
}

// relieve takes its news from w, with a new beginning if it missed some.
func (t *table) takePending(w *watcher) (*snapshot, []stores.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.missed {
		t.resubscribe(w, time.Now())
	}
	begin, news := w.snapshot, w.pending
	w.snapshot, w.pending = nil, nil
	return begin, news
}
