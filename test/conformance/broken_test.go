package conformance

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// broken is a store that breaks a rule, and the rows that must fail with it.
type broken struct {
	name     string // what the store does wrong
	rows     []string
	inject   func(f *faulty) // breaks the store; nil if it is correct
	features []string        // the declared features; nil for those of the memory store
}

func (b broken) harness() Harness {
	h := harness(b.storage)
	h.margin = 2 * time.Second // a broken store fails sooner
	if b.features != nil {
		h.Features = b.features
	}
	return h
}

// faulty is a memory store with some methods replaced. Those that are nil are the memory
// store's.
type faulty struct {
	*memory.Store
	open   func() *memory.Store // opens another unbroken client
	shared *sync.Map            // the state that the clients of one storage share

	tryLock  func(ctx context.Context, req stores.Request) (stores.Grant, error)
	unlock   func(ctx context.Context, key, owner string) error
	renew    func(ctx context.Context, req stores.Request) (stores.Grant, error)
	list     func(ctx context.Context, prefix string) ([]stores.LockInfo, error)
	lock     func(ctx context.Context, req stores.Request) (stores.Grant, error)
	lockAll  func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error)
	revoke   func(ctx context.Context, key, owner string) error
	declare  func(ctx context.Context, d stores.Declaration) error
	withdraw func(ctx context.Context, group, key string) error
	release  func(ctx context.Context, key, owner string) error
	group    func(ctx context.Context, group string) ([]stores.LockInfo, error)
	watch    func(ctx context.Context, prefix string, notify func(stores.Event) error) error
	ping     func(ctx context.Context) error
	close    func() error
}

func (f *faulty) TryLock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	if f.tryLock != nil {
		return f.tryLock(ctx, req)
	}
	return f.Store.TryLock(ctx, req)
}

func (f *faulty) Unlock(ctx context.Context, key, owner string) error {
	if f.unlock != nil {
		return f.unlock(ctx, key, owner)
	}
	return f.Store.Unlock(ctx, key, owner)
}

func (f *faulty) Renew(ctx context.Context, req stores.Request) (stores.Grant, error) {
	if f.renew != nil {
		return f.renew(ctx, req)
	}
	return f.Store.Renew(ctx, req)
}

func (f *faulty) List(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
	if f.list != nil {
		return f.list(ctx, prefix)
	}
	return f.Store.List(ctx, prefix)
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

func (f *faulty) Revoke(ctx context.Context, key, owner string) error {
	if f.revoke != nil {
		return f.revoke(ctx, key, owner)
	}
	return f.Store.Revoke(ctx, key, owner)
}

func (f *faulty) Declare(ctx context.Context, d stores.Declaration) error {
	if f.declare != nil {
		return f.declare(ctx, d)
	}
	return f.Store.Declare(ctx, d)
}

func (f *faulty) Withdraw(ctx context.Context, group, key string) error {
	if f.withdraw != nil {
		return f.withdraw(ctx, group, key)
	}
	return f.Store.Withdraw(ctx, group, key)
}

func (f *faulty) Release(ctx context.Context, key, owner string) error {
	if f.release != nil {
		return f.release(ctx, key, owner)
	}
	return f.Store.Release(ctx, key, owner)
}

func (f *faulty) Group(ctx context.Context, group string) ([]stores.LockInfo, error) {
	if f.group != nil {
		return f.group(ctx, group)
	}
	return f.Store.Group(ctx, group)
}

func (f *faulty) Watch(ctx context.Context, prefix string, notify func(stores.Event) error) error {
	if f.watch != nil {
		return f.watch(ctx, prefix, notify)
	}
	return f.Store.Watch(ctx, prefix, notify)
}

func (f *faulty) Ping(ctx context.Context) error {
	if f.ping != nil {
		return f.ping(ctx)
	}
	return f.Store.Ping(ctx)
}

func (f *faulty) Close() error {
	if f.close != nil {
		return f.close()
	}
	return f.Store.Close()
}

// storage opens clients that are all broken in the same way.
func (b broken) storage(t testing.TB) func() stores.Store {
	open := newMemory(t)
	notes := &sync.Map{}
	return func() stores.Store {
		f := &faulty{Store: open(), open: open, shared: notes}
		if b.inject != nil {
			b.inject(f)
		}
		return f
	}
}

// changeRequests changes each request of TryLock.
func changeRequests(change func(req *stores.Request)) func(*faulty) {
	return func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			change(&req)
			return f.Store.TryLock(ctx, req)
		}
	}
}

// changeGrants changes each grant of TryLock.
func changeGrants(change func(req stores.Request, g *stores.Grant)) func(*faulty) {
	return func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if g.Acquired {
				change(req, &g)
			}
			return g, err
		}
	}
}

// changeRenewals changes each grant of Renew.
func changeRenewals(change func(req stores.Request, g *stores.Grant)) func(*faulty) {
	return func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Renew(ctx, req)
			if g.Acquired {
				change(req, &g)
			}
			return g, err
		}
	}
}

// changeKeys changes each key.
func changeKeys(change func(key string) string) func(*faulty) {
	return func(f *faulty) {
		changeRequests(func(req *stores.Request) { req.Key = change(req.Key) })(f)
		f.unlock = func(ctx context.Context, key, owner string) error { return f.Store.Unlock(ctx, change(key), owner) }
	}
}

// changeOwners changes each owner.
func changeOwners(change func(owner string) string) func(*faulty) {
	return func(f *faulty) {
		changeRequests(func(req *stores.Request) { req.Owner = change(req.Owner) })(f)
		f.unlock = func(ctx context.Context, key, owner string) error { return f.Store.Unlock(ctx, key, change(owner)) }
	}
}

// retryUnlockAsHolder calls Unlock again as the present holder if it has failed with
// outcome.
func (f *faulty) retryUnlockAsHolder(outcome error) {
	f.unlock = func(ctx context.Context, key, owner string) error {
		err := f.Store.Unlock(ctx, key, owner)
		if errors.Is(err, outcome) {
			return f.Store.Unlock(ctx, key, f.holder(key))
		}
		return err
	}
}

// lookup returns a lock and reports whether it is held or declared.
func (f *faulty) lookup(key string) (stores.LockInfo, bool) {
	locks, _ := f.Store.List(context.Background(), key)
	if len(locks) == 0 || locks[0].Key != key {
		return stores.LockInfo{}, false
	}
	return locks[0], true
}

// holder returns the owner of a lock, or "" if it is free.
func (f *faulty) holder(key string) string {
	l, _ := f.lookup(key)
	return l.Owner
}

// forceLock acquires a lock, if necessary from its holder.
func (f *faulty) forceLock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	for {
		if g, err := f.Store.TryLock(ctx, req); err != nil || g.Acquired {
			return g, err
		}
		_ = f.Store.Unlock(ctx, req.Key, f.holder(req.Key))
	}
}

// pause gives concurrent calls time to interfere.
func pause() { time.Sleep(time.Millisecond) }
