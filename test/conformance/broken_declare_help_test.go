package conformance

import (
	"context"
	"fmt"
	"sync"

	"github.com/mortise-lock/mortise/stores"
)

func isHeld(l stores.LockInfo) bool { return l.Owner != "" }
func isFree(l stores.LockInfo) bool { return l.Owner == "" }

// groupOfKey returns the group of a lock from its key.
func groupOfKey(key string) string { return key[:prefixLen] + groupOf(key[prefixLen:]) }

// changeDeclarations changes each declaration.
func changeDeclarations(change func(d *stores.Declaration)) func(*faulty) {
	return func(f *faulty) {
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			change(&d)
			return f.Store.Declare(ctx, d)
		}
	}
}

// checkLimit compares the limit of a declaration with count before the store does.
func (f *faulty) checkLimit(count func(d stores.Declaration) int) {
	f.declare = func(ctx context.Context, d stores.Declaration) error {
		if d.Limit > 0 && count(d) >= d.Limit {
			return fmt.Errorf("memory: declare %q: %w", d.Key, stores.ErrLimit)
		}
		d.Limit = 0
		return f.Store.Declare(ctx, d)
	}
}

// changeGroupResult changes each result of Group.
func changeGroupResult(change func([]stores.LockInfo) []stores.LockInfo) func(*faulty) {
	return func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) {
			locks, err := f.Store.Group(ctx, group)
			return change(locks), err
		}
	}
}

// changeLockInfos changes each lock in a group and in a list.
func changeLockInfos(change func(l *stores.LockInfo)) func(*faulty) {
	return func(f *faulty) {
		changeGroupResult(func(locks []stores.LockInfo) []stores.LockInfo {
			for i := range locks {
				change(&locks[i])
			}
			return locks
		})(f)
		changeListedLocks(change)(f)
	}
}

// changeGroups changes the name of each group.
func changeGroups(change func(group string) string) func(*faulty) {
	return func(f *faulty) {
		changeDeclarations(func(d *stores.Declaration) { d.Group = change(d.Group) })(f)
		changeRequests(func(req *stores.Request) { req.Group = change(req.Group) })(f)
		f.withdraw = func(ctx context.Context, group, key string) error { return f.Store.Withdraw(ctx, change(group), key) }
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) {
			return f.Store.Group(ctx, change(group))
		}
	}
}

// replaceTryLockMember replaces TryLock for requests with a group.
func (f *faulty) replaceTryLockMember(try func(ctx context.Context, req stores.Request) (stores.Grant, error)) {
	f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		if req.Group == "" {
			return f.Store.TryLock(ctx, req)
		}
		return try(ctx, req)
	}
}

// replaceLockMember replaces Lock for requests with a group.
func (f *faulty) replaceLockMember(wait func(ctx context.Context, req stores.Request) (stores.Grant, error)) {
	f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		if req.Group == "" {
			return f.Store.Lock(ctx, req)
		}
		return wait(ctx, req)
	}
}

// withoutGroup returns the request without its group and with a TTL.
func withoutGroup(req stores.Request) stores.Request {
	req.Group, req.TTL = "", lease
	return req
}

// cancelSet has the cancel functions of the waits without a group, by key.
type cancelSet struct {
	mu     sync.Mutex
	byName map[string][]context.CancelFunc
}

// add returns a ctx that cancelAll cancels.
func (c *cancelSet) add(ctx context.Context, name string) (context.Context, context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	c.byName[name] = append(c.byName[name], cancel)
	return ctx, cancel
}

// cancelAll cancels the waits with the name and reports whether there were any.
func (c *cancelSet) cancelAll(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.byName[name]
	delete(c.byName, name)
	for _, cancel := range all {
		cancel()
	}
	return len(all) > 0
}

// cancelSet returns the set that the clients of a storage share.
func (f *faulty) cancelSet() *cancelSet {
	shared, _ := f.shared.LoadOrStore("cancels", &cancelSet{byName: map[string][]context.CancelFunc{}})
	return shared.(*cancelSet)
}

// allowCancel lets cancelSet cancel the waits for a key without a group.
func (f *faulty) allowCancel() {
	f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		if req.Group == "" {
			var cancel context.CancelFunc
			ctx, cancel = f.cancelSet().add(ctx, req.Key)
			defer cancel()
		}
		return f.Store.Lock(ctx, req)
	}
}
