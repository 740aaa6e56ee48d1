package memory

import (
	"container/list"
	"context"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// line is who waits: for each key a queue in the order of arrival.
//
// Who waits for several keys stands in each of their queues, at once. So whoever came first of all is first in all of
// its queues, and no two can wait for each other because of the order.
type line struct {
	queues  map[string]*list.List           // by key, of *waiter; none is empty
	keepers map[string]map[*waiter]struct{} // by owner: those who do not give its locks back before they are answered
	walks   uint64                          // how many searches for a deadlock there were
}

// waiter is a request that waits.
type waiter struct {
	stores.MultiRequest
	from    time.Time       // nothing is granted to it before
	places  []*list.Element // in the queue of each key; nil when it has left them
	grant   stores.Grant
	granted chan struct{} // closed when there is a grant
	met     uint64        // the last search for a deadlock that came by
}

func newLine() line {
	return line{queues: map[string]*list.List{}, keepers: map[string]map[*waiter]struct{}{}}
}

func (n *line) empty() bool { return len(n.queues) == 0 }

// count tells how many wait for key.
func (n *line) count(key string) int {
	if q, ok := n.queues[key]; ok {
		return q.Len()
	}
	return 0
}

// awaited tells whether somebody waits for any of the keys.
func (t *table) awaited(keys []string) bool {
	if t.line.empty() {
		return false
	}
	for _, key := range keys {
		if t.line.count(key) > 0 {
			return true
		}
	}
	return false
}

// takeOrQueue grants the locks as take does, or returns a waiter for them, or fails with ErrDeadlock.
func (t *table) takeOrQueue(req *stores.MultiRequest, from time.Time) (stores.Grant, *waiter, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.reclaim(perGrant, now)
	if !now.Before(from) && !t.awaited(req.Keys) && t.vacant(req.Keys, now) {
		return t.grant(req, now), nil, nil
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

// wait returns what is granted to w. If ctx ends or closed is closed in the same moment the grant is given back.
func (t *table) wait(ctx context.Context, w *waiter, closed <-chan struct{}) (stores.Grant, error) {
	if left := time.Until(w.from); left > 0 {
		select {
		case <-time.After(left):
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

// admit grants w its locks if all that it waited for was that its time comes.
func (t *table) admit(w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serve(w.Keys[0], time.Now())
}

// withdraw ends the wait of w, and gives back what it was granted before.
func (t *table) withdraw(w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if w.grant.Acquired {
		t.giveBack(w, now)
		return
	}
	t.line.leave(w)
	for _, key := range w.Keys {
		t.serve(key, now)
	}
}

func (t *table) giveBack(w *waiter, now time.Time) {
	for _, key := range w.Keys {
		if l, err := t.heldBy(key, w.Owner, now); err == nil && l.token == w.grant.Token {
			t.end(l, stores.Released, now)
		}
	}
}

// serve grants the lock of key, which may have become free, to who is first in its queue, unless that waits for others.
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

// first tells whether w is first in all of its queues.
func (w *waiter) first() bool {
	for _, place := range w.places {
		if place.Prev() != nil {
			return false
		}
	}
	return true
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

// leave takes w out of its queues.
func (n *line) leave(w *waiter) {
	for i, key := range w.Keys {
		q := n.queues[key]
		if q.Remove(w.places[i]); q.Len() == 0 {
			delete(n.queues, key)
		}
	}
	w.places = nil
	for _, owner := range w.Holding {
		if delete(n.keepers[owner], w); len(n.keepers[owner]) == 0 {
			delete(n.keepers, owner)
		}
	}
}

// deadlocked tells whether w, which has just joined, waits for itself. It waits for those who stand before it in its
// queues and for those who hold its keys. And who holds a key is waited for in vain as long as a request that keeps it
// waits, so from there the search goes on.
func (t *table) deadlocked(w *waiter, now time.Time) bool {
	if len(w.Holding) == 0 {
		return false // nobody waits for it
	}
	t.line.walks++
	for next := []*waiter{w}; len(next) > 0; {
		at := next[len(next)-1]
		next = next[:len(next)-1]
		for i, key := range at.Keys {
			if before := at.places[i].Prev(); before != nil {
				next = t.line.meet(before.Value.(*waiter), next)
			}
			l, ok := t.get(key)
			if !ok || !t.held(l, now) {
				continue
			}
			for keeper := range t.line.keepers[l.owner] {
				if keeper == w {
					return true
				}
				next = t.line.meet(keeper, next)
			}
		}
	}
	return false
}

// meet appends w to next unless this search has met it before.
func (n *line) meet(w *waiter, next []*waiter) []*waiter {
	if w.met == n.walks {
		return next
	}
	w.met = n.walks
	return append(next, w)
}
