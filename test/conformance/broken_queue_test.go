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
type line struct {
	mu      sync.Mutex
	places  []*place
	changed chan struct{} // closed when somebody leaves or a lock is given back
}

// place is somebody in the line.
type place struct {
	client *faulty
	keys   []string
	member bool // names a group
	gone   bool // has given up, but was left in the line; does not count
}

// mayGo tells whether who is at p may take the locks.
type mayGo func(p *place, before, behind []*place) bool

// lineUp lets Lock and LockAll wait in a line that the clients of a storage share. Who is
// there may take the locks when may says so, of the places before it and those behind.
func (f *faulty) lineUp(may mayGo) *line {
	shared, _ := f.notes.LoadOrStore("line", &line{changed: make(chan struct{})})
	n := shared.(*line)
	f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		if n.waiters(req.Key) > 0 {
			return stores.Grant{}, ctx.Err()
		}
		return f.Store.TryLock(ctx, req)
	}
	f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		p := &place{client: f, keys: []string{req.Key}, member: req.Group != ""}
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
		return n.wait(ctx, may, &place{client: f, keys: req.Keys}, try)
	}
	f.unlock = func(ctx context.Context, key, owner string) error {
		defer n.change()
		return f.Store.Unlock(ctx, key, owner)
	}
	f.revoke = func(ctx context.Context, key, owner string) error {
		defer n.change()
		return f.Store.Revoke(ctx, key, owner)
	}
	rewrites(func(l *stores.LockInfo) { l.Waiters = n.waiters(l.Key) })(f)
	return n
}

func (n *line) wait(ctx context.Context, may mayGo, p *place, try func() (stores.Grant, error)) (stores.Grant, error) {
	n.join(p)
	defer n.leave(p)
	for {
		changed, before, behind := n.around(p)
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

func (n *line) join(p *place) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.places = append(n.places, p)
}

func (n *line) leave(p *place) {
	defer n.change()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.places = slices.DeleteFunc(n.places, func(other *place) bool { return other == p })
}

// around returns who is before p and who is behind, for as long as nothing has changed.
func (n *line) around(p *place) (changed chan struct{}, before, behind []*place) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.Index(n.places, p)
	return n.changed, slices.Clone(n.places[:i]), slices.Clone(n.places[i+1:])
}

// change lets everybody look again.
func (n *line) change() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.changed)
	n.changed = make(chan struct{})
}

// jump lets the last in the line be the first.
func (n *line) jump() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if last := len(n.places) - 1; last > 0 {
		n.places = slices.Insert(n.places[:last:last], 0, n.places[last])
	}
}

// haunt puts somebody at the head of the line who does not count and never goes.
func (n *line) haunt(keys ...string) {
	p := &place{keys: keys}
	n.join(p)
	n.jump()
	n.mu.Lock()
	defer n.mu.Unlock()
	p.gone = true
}

func (n *line) waiters(key string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(filter(n.places, func(p *place) bool { return !p.gone && slices.Contains(p.keys, key) }))
}

// meets tells whether p wants a lock that somebody in others wants.
func (p *place) meets(others []*place) bool {
	return slices.ContainsFunc(others, func(other *place) bool {
		return slices.ContainsFunc(other.keys, func(key string) bool { return slices.Contains(p.keys, key) })
	})
}

// inOrder is the order that the contract demands.
func inOrder(p *place, before, _ []*place) bool { return !p.meets(before) }

func TestBrokenQueue_InOrder(t *testing.T) {
	sound := broken{with: func(f *faulty) { f.lineUp(inOrder) }}
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
