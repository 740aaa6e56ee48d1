package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// brokenDeclaredRaces do in two steps what must be one step.
var brokenDeclaredRaces = []broken{{
	name: "counts a group and declares in two steps",
	rows: []string{
		"concurrent declarations stop at the limit", "a group never has more locks than the limit",
	},
	inject: func(f *faulty) {
		f.checkLimit(func(d stores.Declaration) int {
			locks, _ := f.Store.Group(context.Background(), d.Group)
			pause()
			return len(locks)
		})
	},
}, {
	name: "checks the declaration and declares in two steps",
	rows: []string{"one of many concurrent declarations of a lock succeeds"},
	inject: func(f *faulty) {
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			if _, declared := f.lookup(d.Key); declared {
				return f.Store.Declare(ctx, d)
			}
			pause()
			_ = f.Store.Declare(ctx, d)
			return nil
		}
	},
}, {
	name: "checks the limit before the declaration",
	rows: []string{"one of many concurrent declarations of a lock succeeds"},
	inject: func(f *faulty) {
		f.checkLimit(func(d stores.Declaration) int {
			locks, _ := f.Store.Group(context.Background(), d.Group)
			return len(locks)
		})
	},
}, {
	name: "checks the declaration and withdraws in two steps",
	rows: []string{"one of many concurrent withdrawals succeeds"},
	inject: func(f *faulty) {
		f.withdraw = func(ctx context.Context, group, key string) error {
			if _, declared := f.lookup(key); !declared {
				return f.Store.Withdraw(ctx, group, key)
			}
			pause()
			_ = f.Store.Withdraw(ctx, group, key)
			return nil
		}
	},
}, {
	name: "reads a group in two steps",
	rows: []string{"a group is read at one moment"},
	inject: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) {
			middle := group + "m"
			first, _ := f.Store.Group(ctx, group)
			pause()
			second, err := f.Store.Group(ctx, group)
			return slices.Concat(
				filter(first, func(l stores.LockInfo) bool { return l.Key < middle }),
				filter(second, func(l stores.LockInfo) bool { return l.Key >= middle }),
			), err
		}
	},
}, {
	name: "checks the holder and acquires a declared lock in two steps",
	rows: []string{"one of many concurrent requests gets a declared lock"},
	inject: func(f *faulty) {
		f.replaceTryLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if l, declared := f.lookup(req.Key); !declared || isHeld(l) {
				return f.Store.TryLock(ctx, req)
			}
			pause()
			return f.forceLock(ctx, withoutGroup(req))
		})
	},
}, {
	name: "checks the owner and acquires a declared lock in two steps",
	rows: []string{"one of an owner's concurrent requests gets a declared lock"},
	inject: func(f *faulty) {
		f.replaceTryLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if f.holder(req.Key) == req.Owner {
				return f.Store.TryLock(ctx, req)
			}
			pause()
			g, err := f.Store.TryLock(ctx, req)
			if errors.Is(err, stores.ErrRepeated) {
				return stores.Grant{}, nil
			}
			return g, err
		})
	},
}, {
	name: "checks for waits of the owner and waits in two steps",
	rows: []string{"one of an owner's concurrent requests waits"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, waits := f.shared.Load(req.Key + req.Owner); waits {
				return stores.Grant{}, fmt.Errorf("memory: lock %q: %w", req.Key, stores.ErrRepeated)
			}
			pause()
			f.shared.Store(req.Key+req.Owner, true)
			return f.Store.Lock(ctx, withoutGroup(req))
		})
	},
}, {
	name: "checks the declaration and acquires in two steps",
	rows: []string{"a lock that is withdrawn during requests is free"},
	inject: func(f *faulty) {
		f.replaceTryLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, declared := f.lookup(req.Key); !declared {
				return f.Store.TryLock(ctx, req)
			}
			pause()
			return f.Store.TryLock(ctx, withoutGroup(req))
		})
	},
}, {
	name: "checks the declaration and waits in two steps",
	rows: []string{"a lock that is withdrawn during waiting requests is free"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, declared := f.lookup(req.Key); !declared {
				return f.Store.Lock(ctx, req)
			}
			pause()
			return f.Store.Lock(ctx, withoutGroup(req))
		})
	},
}}
