package memory

import (
	"container/list"
	"context"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// waitQueue holds the waiters: a queue for each key, in the order of arrival.
//
// A waiter for several keys joins all of their queues in one step. So all queues have the
// same order, the waiter that came first is first in each of its queues, and the order
// alone cannot cause a deadlock.
type waitQueue struct {
	queues map[string]*queue // by key; none is empty

	// waitersByHeldOwner are the waiters whose Holding contains the owner; no entry is
	// empty.
	waitersByHeldOwner map[string]map[*waiter]struct{}
	searchEpoch        uint64 // the number of searches for a deadlock so far
}

// queue holds the waiters for one key.
type queue struct {
	list.List                    // of *waiter
	members   map[string]*waiter // by owner, those whose request has a group; or nil
}

// waiter is a request that waits. Its grant and err may be read when done is closed.
type waiter struct {
	request
	from         time.Time       // the end of its store's restart grace
	positions    []*list.Element // one in the queue of each key
	grant        stores.Grant
	err          error // why the wait ended without a grant
	done         chan struct{}
	visitedEpoch uint64 // the last search that visited it
}

func newWaitQueue() waitQueue {
	return waitQueue{queues: map[string]*queue{}, waitersByHeldOwner: map[string]map[*waiter]struct{}{}}
}

func (n *waitQueue) empty() bool { return len(n.queues) == 0 }

// count returns the number of waiters for key.
func (n *waitQueue) count(key string) int {
	if q, ok := n.queues[key]; ok {
		return q.Len()
	}
	return 0
}

// hasWaiters reports whether any of the keys has waiters.
func (n *waitQueue) hasWaiters(keys []string) bool {
	if n.empty() {
		return false // the most frequent case, without a lookup of the keys
	}
	for _, key := range keys {
		if n.count(key) > 0 {
			return true
		}
	}
	return false
}

// join appends w to its queues.
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

// leave removes w from its queues. Afterwards the caller calls grantNext, because other
// waiters may be first now.
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

// dismiss removes w from its queues, as leave does, and ends its wait with err.
func (n *waitQueue) dismiss(w *waiter, err error) {
	n.leave(w)
	w.err = err
	close(w.done)
}

// members returns, by owner, the waiters for key whose request has a group.
func (n *waitQueue) members(key string) map[string]*waiter {
	if q, ok := n.queues[key]; ok {
		return q.members
	}
	return nil
}

// has reports whether the owner waits for key.
func (n *waitQueue) has(key, owner string) bool {
	q, ok := n.queues[key]
	if !ok {
		return false
	}
	if q.Len() == len(q.members) { // false only if some requests for key have no group
		_, ok := q.members[owner]
		return ok
	}
	for position := q.Front(); position != nil; position = position.Next() {
		if position.Value.(*waiter).Owner == owner {
			return true
		}
	}
	return false
}

// add appends w to q.
func (q *queue) add(w *waiter) *list.Element {
	if w.group != "" {
		if q.members == nil {
			q.members = map[string]*waiter{}
		}
		q.members[w.Owner] = w
	}
	return q.PushBack(w)
}

// remove removes w from its position in q.
func (q *queue) remove(w *waiter, position *list.Element) {
	q.Remove(position)
	if w.group != "" {
		if delete(q.members, w.Owner); len(q.members) == 0 {
			q.members = nil
		}
	}
}

// isFirst reports whether w is first in each of its queues.
func (w *waiter) isFirst() bool {
	for _, position := range w.positions {
		if position.Prev() != nil {
			return false
		}
	}
	return true
}

// takeOrJoin grants the locks as take does, or returns a new waiter for them. It fails as
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

// wait waits until w is done. It fails if ctx ends or closed is closed, even if w is
// granted the locks at the same moment: then it passes them on to the next waiters.
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

// admit grants w its locks if it waited only for the end of the restart grace.
func (t *table) admit(w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.grantNext(w.Keys[0], time.Now())
}

// abandon ends the wait of w, or releases the locks that w was granted, and grants what
// is free to the next waiters.
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

// grantNext grants key, if it is free, to the first waiter in its queue, unless that
// waiter must wait for another of its keys or for the end of its restart grace.
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
