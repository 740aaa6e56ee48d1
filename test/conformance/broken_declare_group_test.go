package conformance

import (
	"context"
	"slices"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// brokenGroups return the wrong locks in a group or in a list.
var brokenGroups = []broken{{
	name: "returns an error for an empty group",
	rows: []string{"a group without locks is empty"},
	inject: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) {
			locks, err := f.Store.Group(ctx, group)
			if err == nil && len(locks) == 0 {
				err = stores.ErrNotDeclared
			}
			return locks, err
		}
	},
}, {
	name:   "returns a group in reverse order",
	rows:   []string{"a group is sorted by key"},
	inject: changeGroupResult(func(locks []stores.LockInfo) []stores.LockInfo { slices.Reverse(locks); return locks }),
}, {
	name: "returns the held locks of a group first",
	rows: []string{"a group is sorted by key"},
	inject: changeGroupResult(func(locks []stores.LockInfo) []stores.LockInfo {
		return slices.Concat(filter(locks, isHeld), filter(locks, isFree))
	}),
}, {
	name:   "returns one page of a group",
	rows:   []string{"a group is complete"},
	inject: changeGroupResult(func(locks []stores.LockInfo) []stores.LockInfo { return locks[:min(len(locks), 100)] }),
}, {
	name: "finds the locks of a group by their prefix",
	rows: []string{"a lock belongs to one group"},
	inject: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) {
			locks, err := f.Store.List(ctx, group)
			return filter(locks, func(l stores.LockInfo) bool { return l.DeclaredTTL > 0 }), err
		}
	},
}, {
	name: "returns held locks of a group that are not declared",
	rows: []string{"a held lock can be declared", "a lock belongs to one group"},
	inject: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) { return f.Store.List(ctx, group) }
	},
}, {
	name: "withdraws locks of other groups",
	rows: []string{"a lock belongs to one group"},
	inject: func(f *faulty) {
		f.withdraw = func(ctx context.Context, group, key string) error {
			for end := len(key); end > 0; end-- {
				if f.Store.Withdraw(ctx, key[:end], key) == nil {
					return nil
				}
			}
			return f.Store.Withdraw(ctx, group, key)
		}
	},
}, {
	name: "grants locks of other groups",
	rows: []string{"a lock belongs to one group"},
	inject: func(f *faulty) {
		f.replaceTryLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			for end := len(req.Key); end > 0; end-- {
				req.Group = req.Key[:end]
				if g, err := f.Store.TryLock(ctx, req); err == nil {
					return g, nil
				}
			}
			return f.Store.TryLock(ctx, req)
		})
	},
}, {
	name:   "folds the case of groups",
	rows:   []string{"a group returns names unchanged"},
	inject: changeGroups(strings.ToLower),
}, {
	name:   "cuts groups at a NUL",
	rows:   []string{"a group returns names unchanged"},
	inject: changeGroups(truncateAt("\x00")),
}, {
	name:   "treats groups as valid UTF-8",
	rows:   []string{"a group returns names of any bytes unchanged"},
	inject: changeGroups(func(name string) string { return strings.ToValidUTF8(name, "\ufffd") }),
}, {
	name: "returns owners in a group without surrounding white space",
	rows: []string{"a group returns names unchanged"},
	inject: changeGroupResult(func(locks []stores.LockInfo) []stores.LockInfo {
		for i := range locks {
			locks[i].Owner = strings.TrimSpace(locks[i].Owner)
		}
		return locks
	}),
}, {
	name:   "lists only held locks",
	rows:   []string{"a list has free declared locks"},
	inject: changeLists(func(locks []stores.LockInfo) []stores.LockInfo { return filter(locks, isHeld) }),
}, {
	name: "lists held locks before declared ones",
	rows: []string{"a list has free declared locks"},
	inject: changeLists(func(locks []stores.LockInfo) []stores.LockInfo {
		return slices.Concat(filter(locks, isHeld), filter(locks, isFree))
	}),
}, {
	name: "reads held and free locks in two steps",
	rows: []string{"a declared lock stays listed while its holder changes"},
	inject: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			held, _ := f.Store.List(ctx, prefix)
			pause()
			free, err := f.Store.List(ctx, prefix)
			all := slices.Concat(filter(held, isHeld), filter(free, isFree))
			slices.SortFunc(all, func(a, b stores.LockInfo) int { return strings.Compare(a.Key, b.Key) })
			return all, err
		}
	},
}, {
	name: "returns no waiters for free locks",
	rows: []string{"a free lock is listed with its waiters"},
	inject: changeLockInfos(func(l *stores.LockInfo) {
		if l.Owner == "" {
			l.Waiters = 0
		}
	}),
}}
