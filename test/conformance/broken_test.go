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

// broken is a store that breaks a rule, and the rows that must catch it.
type broken struct {
	name     string // it does, after "the store that"
	rows     []string
	inject   func(f *faulty) // breaks it; nil if it is sound
	features []string        // its features, if others than the memory store's
}

func (b broken) harness() Harness {
	h := harness(b.storage)
	if b.features != nil {
		h.Features = b.features
	}
	return h
}

// faulty is a memory store of which some methods are replaced. Those that are nil are
// sound.
type faulty struct {
	*memory.Store
	open   func() *memory.Store // opens another sound client
	shared *sync.Map            // what the clients of one storage remember together

	tryLock  func(ctx context.Context, req stores.Request) (stores.Grant, error)
	unlock   func(ctx context.Context, key, owner string) error
	renew    func(ctx context.Context, req stores.Request) (stores.Grant, error)
	list     func(ctx context.Context, prefix string) ([]stores.LockInfo, error)
	lock     func(ctx context.Context, req stores.Request) (stores.Grant, error)
	lockAll  func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error)
	revoke   func(ctx context.Context, key, owner string) error
	declare  func(ctx context.Context, d stores.Declaration) error
	withdraw func(ctx context.Context, group, key string) error
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

// asks changes each request for a lock.
func changeRequests(change func(req *stores.Request)) func(*faulty) {
	return func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			change(&req)
			return f.Store.TryLock(ctx, req)
		}
	}
}

// answers changes each grant.
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

// renewals changes each grant of a renewal.
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

// renames changes each key.
func changeKeys(change func(key string) string) func(*faulty) {
	return func(f *faulty) {
		changeRequests(func(req *stores.Request) { req.Key = change(req.Key) })(f)
		f.unlock = func(ctx context.Context, key, owner string) error { return f.Store.Unlock(ctx, change(key), owner) }
	}
}

// readdresses changes each owner.
func changeOwners(change func(owner string) string) func(*faulty) {
	return func(f *faulty) {
		changeRequests(func(req *stores.Request) { req.Owner = change(req.Owner) })(f)
		f.unlock = func(ctx context.Context, key, owner string) error { return f.Store.Unlock(ctx, key, change(owner)) }
	}
}

// unlocks calls Unlock again, for whoever holds the lock, when it has failed with the
// outcome given.
func (f *faulty) retryUnlockAsHolder(outcome error) {
	f.unlock = func(ctx context.Context, key, owner string) error {
		err := f.Store.Unlock(ctx, key, owner)
		if errors.Is(err, outcome) {
			return f.Store.Unlock(ctx, key, f.holder(key))
		}
		return err
	}
}

// lock tells about a lock, if it is held or declared.
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

// take takes a lock by all means.
func (f *faulty) forceLock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	for {
		if g, err := f.Store.TryLock(ctx, req); err != nil || g.Acquired {
			return g, err
		}
		_ = f.Store.Unlock(ctx, req.Key, f.holder(req.Key))
	}
}

// pause gives others the time to do something in between.
func pause() { time.Sleep(time.Millisecond) }
