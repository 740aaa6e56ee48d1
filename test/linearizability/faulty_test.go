package linearizability

import (
	"context"
	"sync"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// faulty is a memory store of which some methods are replaced. Those that are nil are
// sound.
type faulty struct {
	*memory.Store
	*notes

	tryLock func(ctx context.Context, req stores.Request) (stores.Grant, error)
	lock    func(ctx context.Context, req stores.Request) (stores.Grant, error)
	lockAll func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error)
	renew   func(ctx context.Context, req stores.Request) (stores.Grant, error)
	unlock  func(ctx context.Context, key, owner string) error
	revoke  func(ctx context.Context, key, owner string) error
	list    func(ctx context.Context, prefix string) ([]stores.LockInfo, error)
}

// notes are what the broken clients of one storage share.
type notes struct {
	another func() *memory.Store // opens a client of a memory of its own

	mu   sync.Mutex
	kept map[string]any
}

// swap keeps value under name and returns what was kept there.
func swap[T any](n *notes, name string, value T) (last T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	last, _ = n.kept[name].(T)
	n.kept[name] = value
	return last
}

// sometimes tells every so often that it is time.
func (n *notes) sometimes(often int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	count, _ := n.kept["calls"].(int)
	n.kept["calls"] = count + 1
	return count%often == often-1
}

func (f *faulty) TryLock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	if f.tryLock != nil {
		return f.tryLock(ctx, req)
	}
	return f.Store.TryLock(ctx, req)
}

func (f *faulty) Lock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	if f.lock != nil {
		return f.lock(ctx, req)
	}
	return f.Store.Lock(ctx, req)
}

func (f *faulty) LockAll(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
	if f.lockAll != nil {
		return f.lockAll(ctx, req)
	}
	return f.Store.LockAll(ctx, req)
}

func (f *faulty) Renew(ctx context.Context, req stores.Request) (stores.Grant, error) {
	if f.renew != nil {
		return f.renew(ctx, req)
	}
	return f.Store.Renew(ctx, req)
}

func (f *faulty) Unlock(ctx context.Context, key, owner string) error {
	if f.unlock != nil {
		return f.unlock(ctx, key, owner)
	}
	return f.Store.Unlock(ctx, key, owner)
}

func (f *faulty) Revoke(ctx context.Context, key, owner string) error {
	if f.revoke != nil {
		return f.revoke(ctx, key, owner)
	}
	return f.Store.Revoke(ctx, key, owner)
}

func (f *faulty) List(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
	if f.list != nil {
		return f.list(ctx, prefix)
	}
	return f.Store.List(ctx, prefix)
}

// lets changes how long a grant of TryLock lasts, without a word of it.
func lets(last func(ttl time.Duration) time.Duration) func(*faulty) {
	return func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			ttl := req.TTL
			req.TTL = last(ttl)
			g, err := f.Store.TryLock(ctx, req)
			if g.Acquired {
				g.Expires = g.Expires.Add(ttl - req.TTL)
			}
			return g, err
		}
	}
}

// answers changes each grant of TryLock.
func answers(change func(f *faulty, req stores.Request, g *stores.Grant)) func(*faulty) {
	return func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if g.Acquired {
				change(f, req, &g)
			}
			return g, err
		}
	}
}

// seen tells about a lock, if it is held.
func (f *faulty) seen(key string) (stores.LockInfo, bool) {
	locks, _ := f.Store.List(context.Background(), key)
	if len(locks) == 0 || locks[0].Key != key {
		return stores.LockInfo{}, false
	}
	return locks[0], true
}

// seize takes a lock by all means.
func (f *faulty) seize(ctx context.Context, req stores.Request) (stores.Grant, error) {
	_ = f.Store.Revoke(ctx, req.Key, "")
	return f.Store.TryLock(ctx, req)
}

// pause gives others the time to do something in between.
func pause() { time.Sleep(time.Millisecond) }
