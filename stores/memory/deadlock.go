package memory

import "time"

// deadlocked tells whether w, which has just joined the line, waits for itself.
//
// A waiter waits for the one before it in each of its queues, and for the lock of each of
// its keys to be given back. That does not happen while a request that keeps the lock, by
// its Holding, waits. So the walk goes on from there.
func (t *table) deadlocked(w *waiter, now time.Time) bool {
	if len(w.Holding) == 0 {
		return false // nothing waits for it: it is last in its queues and keeps nothing
	}
	t.waitQueue.searchEpoch++
	for ahead := []*waiter{w}; len(ahead) > 0; {
		last := len(ahead) - 1
		at := ahead[last]
		ahead = ahead[:last]
		for i, key := range at.Keys {
			if before := at.positions[i].Prev(); before != nil {
				ahead = t.waitQueue.visit(before.Value.(*waiter), ahead)
			}
			for keeper := range t.waitersHolding(key, now) {
				if keeper == w {
					return true
				}
				ahead = t.waitQueue.visit(keeper, ahead)
			}
		}
	}
	return false
}

// keepers returns who waits and keeps the lock of key meanwhile.
func (t *table) waitersHolding(key string, now time.Time) map[*waiter]struct{} {
	if l, err := t.heldByAny(key, now); err == nil {
		return t.waitQueue.waitersByHeldOwner[l.owner]
	}
	return nil
}

// meet appends w to ahead unless this walk has met it before.
func (n *waitQueue) visit(w *waiter, ahead []*waiter) []*waiter {
	if w.visitedEpoch == n.searchEpoch {
		return ahead
	}
	w.visitedEpoch = n.searchEpoch
	return append(ahead, w)
}
