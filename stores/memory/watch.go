package memory

import (
	"context"
	"strings"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// maxNews is how many events are kept for a watcher that is slow.
const maxNews = 4096

// audience is who watches.
type audience struct {
	watchers map[*watcher]struct{}
	revision uint64 // counts the changes; begins with the wall clock, so that it grows across a restart as tokens do
}

// watcher is one call of Watch.
type watcher struct {
	prefix string
	since  time.Duration  // when its last snapshot was taken, since the table's epoch
	begin  *snapshot      // to be told before the news; nil if it was
	news   []stores.Event // not yet told
	missed bool           // some were dropped
	wake   chan struct{}  // has an element if there are news
}

// snapshot is a new beginning for a watcher.
type snapshot struct {
	view
	revision uint64
	missed   bool
}

func newAudience(now time.Time) audience {
	return audience{watchers: map[*watcher]struct{}{}, revision: uint64(now.UnixMicro())}
}

func (a *audience) empty() bool { return len(a.watchers) == 0 }

// tell lets those who watch l, which may be vacant, know what happened to it.
func (t *table) tell(what stores.EventKind, l *lock) {
	t.audience.revision++
	for w := range t.audience.watchers {
		if !strings.HasPrefix(l.key, w.prefix) || what == stores.EventExpired && l.expires <= w.since {
			continue // not its business, or it was told that nobody holds l
		}
		w.add(stores.Event{Kind: what, Revision: t.audience.revision, Lock: t.row(l)})
	}
}

func (w *watcher) add(e stores.Event) {
	switch {
	case w.missed:
	case len(w.news) < maxNews:
		w.news = append(w.news, e)
	default:
		w.news, w.missed = nil, true
	}
	w.rouse()
}

// rouse tells w that there are news.
func (w *watcher) rouse() {
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
		for _, e := range t.collect(w) {
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
	t.restart(w, now)
	w.rouse()
	t.audience.watchers[w] = struct{}{}
	t.setAlarm(now)
	return w
}

func (t *table) unsubscribe(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.audience.watchers, w)
}

// restart lets w begin with a snapshot of now.
func (t *table) restart(w *watcher, now time.Time) {
	v := t.view(now)
	w.since = v.at
	w.begin = &snapshot{v, t.audience.revision, w.missed}
	w.news, w.missed = nil, false
}

// collect returns the news of w, of which it is relieved.
func (t *table) collect(w *watcher) []stores.Event {
	begin, news := t.relieve(w)
	if begin == nil {
		return news
	}
	return append([]stores.Event{{
		Kind: stores.EventSnapshot, Revision: begin.revision, Locks: t.rows(begin.view, w.prefix), Missed: begin.missed,
	}}, news...)
}

// relieve takes its news from w, with a new beginning if it missed some.
func (t *table) relieve(w *watcher) (*snapshot, []stores.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.missed {
		t.restart(w, time.Now())
	}
	begin, news := w.begin, w.news
	w.begin, w.news = nil, nil
	return begin, news
}
