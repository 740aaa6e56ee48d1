package linearizability

import (
	"context"
	"sync"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// faulty is a memory store with replaced methods. A method whose field is nil is the
// memory store's.
type faulty struct {
	*memory.Store
	*sharedState

	tryLock func(ctx context.Context, req stores.Request) (stores.Grant, error)
	lock    func(ctx context.Context, req stores.Request) (stores.Grant, error)
	lockAll func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error)
	renew   func(ctx context.Context, req stores.Request) (stores.Grant, error)
	unlock  func(ctx context.Context, key, owner string) error
	revoke  func(ctx context.Context, key, owner string) error
	list    func(ctx context.Context, prefix string) ([]stores.LockInfo, error)
}

// sharedState is the state that the broken clients of one storage share.
type sharedState struct {
	openSeparate func() *memory.Store // opens a client of another storage

	mu     sync.Mutex
	values map[string]any
}

// swap stores value under name and returns the previous value.
func swap[T any](s *sharedState, name string, value T) (last T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, _ = s.values[name].(T)
	s.values[name] = value
	return last
}

// everyNth reports true in every nth call.
func (s *sharedState) everyNth(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	count, _ := s.values["calls"].(int)
	s.values["calls"] = count + 1
	return count%n == n-1
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

// withLease changes the lease of a grant of TryLock, but not its Expires.
func withLease(change func(ttl time.Duration) time.Duration) func(*faulty) {
	return func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			ttl := req.TTL
			req.TTL = change(ttl)
			g, err := f.Store.TryLock(ctx, req)
			if g.Acquired {
				g.Expires = g.Expires.Add(ttl - req.TTL)
			}
			return g, err
		}
	}
}

// withGrant changes each grant that TryLock returns.
func withGrant(change func(f *faulty, req stores.Request, g *stores.Grant)) func(*faulty) {
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

// current returns the lock of the key, and whether it is held.
func (f *faulty) current(key string) (stores.LockInfo, bool) {
	locks, _ := f.Store.List(context.Background(), key)
	if len(locks) == 0 || locks[0].Key != key {
		return stores.LockInfo{}, false
	}
	return locks[0], true
}

// forceTryLock revokes the lock before it acquires it.
func (f *faulty) forceTryLock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	_ = f.Store.Revoke(ctx, req.Key, "")
	return f.Store.TryLock(ctx, req)
}

// pause lets other calls run between two steps.
func pause() { time.Sleep(time.Millisecond) }
