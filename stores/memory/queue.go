package memory

import (
	"container/list"
	"context"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// line is who waits: for each key a queue in the order of arrival.
//
// Who waits for several keys joins all of their queues at once. So queues agree on who
// came first, the first of all is first wherever it stands, and the order alone makes
// nobody wait for ever.
type waitQueue struct {
	queues             map[string]*queue               // by key; none is empty
	waitersByHeldOwner map[string]map[*waiter]struct{} // by owner: whose Holding it is in; none is empty
	searchEpoch        uint64                          // how often a deadlock was looked for
}

// queue is who waits for one key.
type queue struct {
	list.List                    // of *waiter
	members   map[string]*waiter // by owner: those whose request has a group; nil if there are none
}

// waiter is a request that waits.
type waiter struct {
	request
	from         time.Time       // when the restart grace of its store is over
	positions    []*list.Element // one in the queue of each key
	grant        stores.Grant    // the answer, or
	err          error           // why there is none; both are of no use to the one who waits before answered is closed
	done         chan struct{}
	visitedEpoch uint64 // the last walk that came by
}

func newWaitQueue() waitQueue {
	return waitQueue{queues: map[string]*queue{}, waitersByHeldOwner: map[string]map[*waiter]struct{}{}}
}

func (n *waitQueue) empty() bool { return len(n.queues) == 0 }

// count returns how many wait for key.
func (n *waitQueue) count(key string) int {
	if q, ok := n.queues[key]; ok {
		return q.Len()
	}
	return 0
}

// awaited tells whether somebody waits for any of the keys.
func (n *waitQueue) hasWaiters(keys []string) bool {
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
func (n *waitQueue) join(w *waiter) {
	for _, key := range w.Keys {
		q, ok := n.queues[key]
		if !ok {
			q = &queue{}
			n.queues[key] = q
		}
		w.positions = append(w.positions, q.add(w))
	}
	for _, owner := range w.Holding {
		if n.waitersByHeldOwner[owner] == nil {
			n.waitersByHeldOwner[owner] = map[*waiter]struct{}{}
		}
		n.waitersByHeldOwner[owner][w] = struct{}{}
	}
}

// leave takes w out of its queues. Somebody else may now be first.
func (n *waitQueue) leave(w *waiter) {
	for i, key := range w.Keys {
		q := n.queues[key]
		if q.remove(w, w.positions[i]); q.Len() == 0 {
			delete(n.queues, key)
		}
	}
	for _, owner := range w.Holding {
		if delete(n.waitersByHeldOwner[owner], w); len(n.waitersByHeldOwner[owner]) == 0 {
			delete(n.waitersByHeldOwner, owner)
		}
	}
}

// dismiss ends the wait of w with an error. Somebody else may now be first.
func (n *waitQueue) dismiss(w *waiter, err error) {
	n.leave(w)
	w.err = err
	close(w.done)
}

// members returns, by owner, who waits for key as a lock of a group.
func (n *waitQueue) members(key string) map[string]*waiter {
	if q, ok := n.queues[key]; ok {
		return q.members
	}
	return nil
}

// has tells whether the owner waits for key.
func (n *waitQueue) has(key, owner string) bool {
	q, ok := n.queues[key]
	if !ok {
		return false
	}
	if q.Len() == len(q.members) { // always, unless a key is asked for with its group and without
		_, ok := q.members[owner]
		return ok
	}
	for place := q.Front(); place != nil; place = place.Next() {
		if place.Value.(*waiter).Owner == owner {
			return true
		}
	}
	return false
}

// add puts w at the end of q.
func (q *queue) add(w *waiter) *list.Element {
	if w.group != "" {
		if q.members == nil {
			q.members = map[string]*waiter{}
		}
		q.members[w.Owner] = w
	}
	return q.PushBack(w)
}

// remove takes w out of its place in q.
func (q *queue) remove(w *waiter, place *list.Element) {
	q.Remove(place)
	if w.group != "" {
		if delete(q.members, w.Owner); len(q.members) == 0 {
			q.members = nil
		}
	}
}

// first tells whether w is first in each of its queues.
func (w *waiter) isFirst() bool {
	for _, place := range w.positions {
		if place.Prev() != nil {
			return false
		}
	}
	return true
}

// takeOrJoin grants the locks as take does, or returns a waiter for them. It fails as
// take does, or with ErrDeadlock.
func (t *table) takeOrJoin(req *request, from time.Time) (stores.Grant, *waiter, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if grant, err := t.try(req, from, now); grant.Acquired || err != nil {
		return grant, nil, err
	}
	w := &waiter{request: *req, from: from, done: make(chan struct{})}
	t.waitQueue.join(w)
	if t.deadlocked(w, now) {
		t.waitQueue.leave(w)
		return stores.Grant{}, nil, stores.ErrDeadlock
	}
	t.setAlarm(now)
	return stores.Grant{}, w, nil
}

// wait returns what w was answered. It fails if ctx ends or closed is closed, even if w
// is granted the locks in the same moment: then they go on to the next.
func (t *table) wait(ctx context.Context, w *waiter, closed <-chan struct{}) (stores.Grant, error) {
	if grace := time.Until(w.from); grace > 0 {
		select {
		case <-time.After(grace):
			t.admit(w)
		case <-w.done:
		case <-ctx.Done():
		case <-closed:
		}
	}
	select {
	case <-w.done:
	case <-ctx.Done():
	case <-closed:
	}
	if err := ended(ctx, closed); err != nil {
		t.abandon(w)
		return stores.Grant{}, err
	}
	return w.grant, w.err
}

// admit grants w its locks if all that they waited for was the end of the grace.
func (t *table) admit(w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.grantNext(w.Keys[0], time.Now())
}

// abandon ends the wait of w; if it was granted the locks it gives them back. Who comes
// next is served.
func (t *table) abandon(w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if !w.grant.Acquired && w.err == nil {
		t.waitQueue.leave(w)
	}
	for _, key := range w.Keys {
		if l, err := t.heldBy(key, w.Owner, now); err == nil && l.token == w.grant.Token {
			t.end(l, stores.EventReleased, now)
		} else {
			t.grantNext(key, now)
		}
	}
}

// serve grants key, if it is vacant, to the first in its queue, unless that has to wait
// for something else.
func (t *table) grantNext(key string, now time.Time) {
	q, ok := t.waitQueue.queues[key]
	if !ok {
		return
	}
	w := q.Front().Value.(*waiter)
	if now.Before(w.from) || !w.isFirst() || !t.free(w.Keys, now) {
		return
	}
	t.waitQueue.leave(w)
	w.grant = t.grant(&w.request, now)
	close(w.done)
}
