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
	t.line.walks++
	for ahead := []*waiter{w}; len(ahead) > 0; {
		last := len(ahead) - 1
		at := ahead[last]
		ahead = ahead[:last]
		for i, key := range at.Keys {
			if before := at.places[i].Prev(); before != nil {
				ahead = t.line.meet(before.Value.(*waiter), ahead)
			}
			for keeper := range t.keepers(key, now) {
				if keeper == w {
					return true
				}
				ahead = t.line.meet(keeper, ahead)
			}
		}
	}
	return false
}

// keepers returns who waits and keeps the lock of key meanwhile.
func (t *table) keepers(key string, now time.Time) map[*waiter]struct{} {
	if l, err := t.heldByAny(key, now); err == nil {
		return t.line.keepers[l.owner]
	}
	return nil
}

// meet appends w to ahead unless this walk has met it before.
func (n *line) meet(w *waiter, ahead []*waiter) []*waiter {
	if w.met == n.walks {
		return ahead
	}
	w.met = n.walks
	return append(ahead, w)
}
