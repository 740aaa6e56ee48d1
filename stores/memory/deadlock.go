package memory

import "time"

// deadlocked reports whether w, which has just joined its queues, waits for itself.
//
// A waiter waits for its predecessor in each of its queues and for the release of the
// lock of each of its keys. That lock is not released while a request waits whose Holding
// contains the holder. The search follows these dependencies.
func (t *table) deadlocked(w *waiter, now time.Time) bool {
	if len(w.Holding) == 0 {
		return false // no waiter waits for it: it is last in its queues and holds no lock
	}
	t.waitQueue.searchEpoch++
	for pending := []*waiter{w}; len(pending) > 0; {
		last := len(pending) - 1
		current := pending[last]
		pending = pending[:last]
		for i, key := range current.Keys {
			if previous := current.positions[i].Prev(); previous != nil {
				pending = t.waitQueue.visit(previous.Value.(*waiter), pending)
			}
			for holding := range t.waitersHolding(key, now) {
				if holding == w {
					return true
				}
				pending = t.waitQueue.visit(holding, pending)
			}
		}
	}
	return false
}

// waitersHolding returns the waiters whose Holding contains the holder of key.
func (t *table) waitersHolding(key string, now time.Time) map[*waiter]struct{} {
	if l, err := t.heldByAny(key, now); err == nil {
		return t.waitQueue.waitersByHeldOwner[l.owner]
	}
	return nil
}

// visit appends w to pending unless this search has visited it before.
func (n *waitQueue) visit(w *waiter, pending []*waiter) []*waiter {
	if w.visitedEpoch == n.searchEpoch {
		return pending
	}
	w.visitedEpoch = n.searchEpoch
	return append(pending, w)
}
