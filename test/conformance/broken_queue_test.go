package conformance

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/mortise-lock/mortise/stores"
)

// lockQueue is a queue in front of a memory store, for stores with another order of
// waiters. It ignores expiry.
type lockQueue struct {
	mu      sync.Mutex
	entries []*queueEntry
	changed chan struct{} // closed when a waiter leaves or a lock is released
}

// queueEntry is a waiter.
type queueEntry struct {
	client   *faulty
	keys     []string
	hasGroup bool // the request has a group
	stale    bool // the wait was canceled but stays in the queue; not counted
}

// policy reports whether the waiter of e may acquire its locks.
type policy func(e *queueEntry, before, behind []*queueEntry) bool

// queueLocks lets Lock and LockAll wait in a queue that the clients of a storage share.
// may decides from the entries before and behind a waiter whether it may acquire its
// locks.
func (f *faulty) queueLocks(may policy) *lockQueue {
	shared, _ := f.shared.LoadOrStore("queue", &lockQueue{changed: make(chan struct{})})
	q := shared.(*lockQueue)
	f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		if q.waiters(req.Key) > 0 {
			return stores.Grant{}, ctx.Err()
		}
		return f.Store.TryLock(ctx, req)
	}
	f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		e := &queueEntry{client: f, keys: []string{req.Key}, hasGroup: req.Group != ""}
		return q.wait(ctx, may, e, func() (stores.Grant, error) { return f.Store.TryLock(ctx, req) })
	}
	f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
		try := func() (stores.Grant, error) {
			req := req
			req.Wait = false
			return f.Store.LockAll(ctx, req)
		}
		switch {
		case req.Wait:
		case slices.ContainsFunc(req.Keys, func(key string) bool { return q.waiters(key) > 0 }):
			return stores.Grant{}, ctx.Err()
		default:
			return try()
		}
		return q.wait(ctx, may, &queueEntry{client: f, keys: req.Keys}, try)
	}
	f.unlock = func(ctx context.Context, key, owner string) error {
		defer q.notifyAll()
		return f.Store.Unlock(ctx, key, owner)
	}
	f.revoke = func(ctx context.Context, key, owner string) error {
		defer q.notifyAll()
		return f.Store.Revoke(ctx, key, owner)
	}
	changeListedLocks(func(l *stores.LockInfo) { l.Waiters = q.waiters(l.Key) })(f)
	return q
}

func (q *lockQueue) wait(ctx context.Context, may policy, e *queueEntry, try func() (stores.Grant, error)) (stores.Grant, error) {
	q.join(e)
	defer q.leave(e)
	for {
		changed, before, behind := q.neighbors(e)
		if may(e, before, behind) {
			if g, err := try(); err != nil || g.Acquired {
				return g, err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return stores.Grant{}, fmt.Errorf("memory: lock %q: %w", e.keys, ctx.Err())
		}
	}
}

func (q *lockQueue) join(e *queueEntry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.entries = append(q.entries, e)
}

func (q *lockQueue) leave(e *queueEntry) {
	defer q.notifyAll()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.entries = slices.DeleteFunc(q.entries, func(other *queueEntry) bool { return other == e })
}

// neighbors returns the entries before and behind e, and a channel that is closed when
// they change.
func (q *lockQueue) neighbors(e *queueEntry) (changed chan struct{}, before, behind []*queueEntry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.entries, e)
	return q.changed, slices.Clone(q.entries[:i]), slices.Clone(q.entries[i+1:])
}

// notifyAll lets all waiters check again.
func (q *lockQueue) notifyAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	close(q.changed)
	q.changed = make(chan struct{})
}

// moveLastToFront moves the last entry to the front.
func (q *lockQueue) moveLastToFront() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if last := len(q.entries) - 1; last > 0 {
		q.entries = slices.Insert(q.entries[:last:last], 0, q.entries[last])
	}
}

// addStale adds an entry at the front that is not counted and never leaves.
func (q *lockQueue) addStale(keys ...string) {
	e := &queueEntry{keys: keys}
	q.join(e)
	q.moveLastToFront()
	q.mu.Lock()
	defer q.mu.Unlock()
	e.stale = true
}

func (q *lockQueue) waiters(key string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(filter(q.entries, func(e *queueEntry) bool { return !e.stale && slices.Contains(e.keys, key) }))
}

// conflictsWith reports whether e waits for a lock that one of the others waits for.
func (e *queueEntry) conflictsWith(others []*queueEntry) bool {
	return slices.ContainsFunc(others, func(other *queueEntry) bool {
		return slices.ContainsFunc(other.keys, func(key string) bool { return slices.Contains(e.keys, key) })
	})
}

// fifo is the order that the contract requires.
func fifo(e *queueEntry, before, _ []*queueEntry) bool { return !e.conflictsWith(before) }

func TestBrokenQueue_InOrder(t *testing.T) {
	inOrder := broken{inject: func(f *faulty) { f.queueLocks(fifo) }}
	for _, name := range []string{
		"waiters are served first come, first served",
		"canceled waits do not change the order",
		"a canceled waiter does not block the next",
		"waits for different locks are independent",
		"TryLock does not overtake waiters",
		"no notification of a waiter is lost",
		"no request overtakes a waiter for several locks",
		"a later waiter for one of several locks is served later",
		"an earlier waiter for one of several locks is served first",
		"a canceled wait for several locks leaves no trace",
		"a waiter gets a lock that is revoked",
	} {
		if err := rowNamed(t, name).run(t, inOrder.harness()); err != nil {
			t.Errorf("%q fails a queue in order: %v", name, err)
		}
	}
}
