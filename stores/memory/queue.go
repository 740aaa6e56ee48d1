package memory

import (
	"container/list"
	"context"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// line is who waits: for each key a queue in the order of arrival.
//
// Who waits for several keys joins all of their queues at once. So queues agree on who came first, the first of all is
// first wherever it stands, and the order alone makes nobody wait for ever.
type line struct {
	queues  map[string]*list.List           // by key, of *waiter; none is empty
	keepers map[string]map[*waiter]struct{} // by owner: whose Holding it is in; none is empty
	walks   uint64                          // how often a deadlock was looked for
}

// waiter is a request that waits.
type waiter struct {
	stores.MultiRequest
	from    time.Time       // when the restart grace of its store is over
	places  []*list.Element // one in the queue of each key
	grant   stores.Grant    // of no use to the one who waits before granted is closed
	granted chan struct{}
	met     uint64 // the last walk that came by
}

func newLine() line {
	return line{queues: map[string]*list.List{}, keepers: map[string]map[*waiter]struct{}{}}
}

func (n *line) empty() bool { return len(n.queues) == 0 }

// count returns how many wait for key.
func (n *line) count(key string) int {
	if q, ok := n.queues[key]; ok {
		return q.Len()
	}
	return 0
}

// awaited tells whether somebody waits for any of the keys.
func (n *line) awaited(keys []string) bool {
	if n.empty() {
		return false // most often, and without a look at the keys
	}
	for _, key := range keys {
		if n.count(key) > 0 {
			return true
		}
	}
	return false
}

// join puts w at the end of its queues.
func (n *line) join(w *waiter) {
	for _, key := range w.Keys {
		q, ok := n.queues[key]
		if !ok {
			q = list.New()
			n.queues[key] = q
		}
		w.places = append(w.places, q.PushBack(w))
	}
	for _, owner := range w.Holding {
		if n.keepers[owner] == nil {
			n.keepers[owner] = map[*waiter]struct{}{}
		}
		n.keepers[owner][w] = struct{}{}
	}
}

// leave takes w out of its queues. Somebody else may now be first.
func (n *line) leave(w *waiter) {
	for i, key := range w.Keys {
		q := n.queues[key]
		if q.Remove(w.places[i]); q.Len() == 0 {
			delete(n.queues, key)
		}
	}
	for _, owner := range w.Holding {
		if delete(n.keepers[owner], w); len(n.keepers[owner]) == 0 {
			delete(n.keepers, owner)
		}
	}
}

// first tells whether w is first in each of its queues.
func (w *waiter) first() bool {
	for _, place := range w.places {
		if place.Prev() != nil {
			return false
		}
	}
	return true
}

// takeOrJoin grants the locks as take does, or returns a waiter for them, or fails with ErrDeadlock.
func (t *table) takeOrJoin(req *stores.MultiRequest, from time.Time) (stores.Grant, *waiter, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if grant := t.try(req, from, now); grant.Acquired {
		return grant, nil, nil
	}
	w := &waiter{MultiRequest: *req, from: from, granted: make(chan struct{})}
	t.line.join(w)
	if t.deadlocked(w, now) {
		t.line.leave(w)
		return stores.Grant{}, nil, stores.ErrDeadlock
	}
	t.setAlarm(now)
	return stores.Grant{}, w, nil
}

// wait returns what w was granted. It fails if ctx ends or closed is closed, even if w is granted the locks in the same
// moment: then they go on to the next.
func (t *table) wait(ctx context.Context, w *waiter, closed <-chan struct{}) (stores.Grant, error) {
	if grace := time.Until(w.from); grace > 0 {
		select {
		case <-time.After(grace):
			t.admit(w)
		case <-ctx.Done():
		case <-closed:
		}
	}
	select {
	case <-w.granted:
	case <-ctx.Done():
	case <-closed:
	}
	if err := ended(ctx, closed); err != nil {
		t.withdraw(w)
		return stores.Grant{}, err
	}
	return w.grant, nil
}

// admit grants w its locks if all that they waited for was the end of the grace.
func (t *table) admit(w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serve(w.Keys[0], time.Now())
}

// withdraw ends the wait of w; if it was granted the locks it gives them back. Who comes next is served.
func (t *table) withdraw(w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if !w.grant.Acquired {
		t.line.leave(w)
	}
	for _, key := range w.Keys {
		if l, err := t.heldBy(key, w.Owner, now); err == nil && l.token == w.grant.Token {
			t.end(l, stores.Released, now)
		} else {
			t.serve(key, now)
		}
	}
}

// serve grants key, if it is vacant, to the first in its queue, unless that has to wait for something else.
func (t *table) serve(key string, now time.Time) {
	q, ok := t.line.queues[key]
	if !ok {
		return
	}
	w := q.Front().Value.(*waiter)
	if now.Before(w.from) || !w.first() || !t.vacant(w.Keys, now) {
		return
	}
	t.line.leave(w)
	w.grant = t.grant(&w.MultiRequest, now)
	close(w.granted)
}
