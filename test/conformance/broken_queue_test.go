package conformance

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/mortise-lock/mortise/stores"
)

// line is a queue in front of a memory store, for stores that break the order of those
// who wait. It knows of no expiry.
type lockQueue struct {
	mu      sync.Mutex
	entries []*queueEntry
	changed chan struct{} // closed when somebody leaves or a lock is given back
}

// place is somebody in the line.
type queueEntry struct {
	client   *faulty
	keys     []string
	hasGroup bool // names a group
	stale    bool // has given up, but was left in the line; does not count
}

// mayGo tells whether who is at p may take the locks.
type policy func(p *queueEntry, before, behind []*queueEntry) bool

// lineUp lets Lock and LockAll wait in a line that the clients of a storage share. Who is
// there may take the locks when may says so, of the places before it and those behind.
func (f *faulty) queueLocks(may policy) *lockQueue {
	shared, _ := f.shared.LoadOrStore("line", &lockQueue{changed: make(chan struct{})})
	n := shared.(*lockQueue)
	f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		if n.waiters(req.Key) > 0 {
			return stores.Grant{}, ctx.Err()
		}
		return f.Store.TryLock(ctx, req)
	}
	f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		p := &queueEntry{client: f, keys: []string{req.Key}, hasGroup: req.Group != ""}
		return n.wait(ctx, may, p, func() (stores.Grant, error) { return f.Store.TryLock(ctx, req) })
	}
	f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
		try := func() (stores.Grant, error) {
			req := req
			req.Wait = false
			return f.Store.LockAll(ctx, req)
		}
		switch {
		case req.Wait:
		case slices.ContainsFunc(req.Keys, func(key string) bool { return n.waiters(key) > 0 }):
			return stores.Grant{}, ctx.Err()
		default:
			return try()
		}
		return n.wait(ctx, may, &queueEntry{client: f, keys: req.Keys}, try)
	}
	f.unlock = func(ctx context.Context, key, owner string) error {
		defer n.notifyAll()
		return f.Store.Unlock(ctx, key, owner)
	}
	f.revoke = func(ctx context.Context, key, owner string) error {
		defer n.notifyAll()
		return f.Store.Revoke(ctx, key, owner)
	}
	changeListedLocks(func(l *stores.LockInfo) { l.Waiters = n.waiters(l.Key) })(f)
	return n
}

func (n *lockQueue) wait(ctx context.Context, may policy, p *queueEntry, try func() (stores.Grant, error)) (stores.Grant, error) {
	n.join(p)
	defer n.leave(p)
	for {
		changed, before, behind := n.neighbors(p)
		if may(p, before, behind) {
			if g, err := try(); err != nil || g.Acquired {
				return g, err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return stores.Grant{}, fmt.Errorf("memory: lock %q: %w", p.keys, ctx.Err())
		}
	}
}

func (n *lockQueue) join(p *queueEntry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.entries = append(n.entries, p)
}

func (n *lockQueue) leave(p *queueEntry) {
	defer n.notifyAll()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.entries = slices.DeleteFunc(n.entries, func(other *queueEntry) bool { return other == p })
}

// around returns who is before p and who is behind, for as long as nothing has changed.
func (n *lockQueue) neighbors(p *queueEntry) (changed chan struct{}, before, behind []*queueEntry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.Index(n.entries, p)
	return n.changed, slices.Clone(n.entries[:i]), slices.Clone(n.entries[i+1:])
}

// change lets everybody look again.
func (n *lockQueue) notifyAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.changed)
	n.changed = make(chan struct{})
}

// jump lets the last in the line be the first.
func (n *lockQueue) moveLastToFront() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if last := len(n.entries) - 1; last > 0 {
		n.entries = slices.Insert(n.entries[:last:last], 0, n.entries[last])
	}
}

// haunt puts somebody at the head of the line who does not count and never goes.
func (n *lockQueue) addStale(keys ...string) {
	p := &queueEntry{keys: keys}
	n.join(p)
	n.moveLastToFront()
	n.mu.Lock()
	defer n.mu.Unlock()
	p.stale = true
}

func (n *lockQueue) waiters(key string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(filter(n.entries, func(p *queueEntry) bool { return !p.stale && slices.Contains(p.keys, key) }))
}

// meets tells whether p wants a lock that somebody in others wants.
func (p *queueEntry) conflictsWith(others []*queueEntry) bool {
	return slices.ContainsFunc(others, func(other *queueEntry) bool {
		return slices.ContainsFunc(other.keys, func(key string) bool { return slices.Contains(p.keys, key) })
	})
}

// inOrder is the order that the contract demands.
func fifo(p *queueEntry, before, _ []*queueEntry) bool { return !p.conflictsWith(before) }

func TestBrokenQueue_InOrder(t *testing.T) {
	sound := broken{inject: func(f *faulty) { f.queueLocks(fifo) }}
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
		if err := rowNamed(t, name).run(t, sound.harness()); err != nil {
			t.Errorf("%q fails a line in order: %v", name, err)
		}
	}
}
