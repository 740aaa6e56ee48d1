package conformance

import (
	"context"
	"slices"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// brokenGroups are stores that tell the wrong locks of a group, or in a list.
var brokenGroups = []broken{{
	name: "finds a group without locks an error",
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
	name:   "tells a group in no order",
	rows:   []string{"a group is sorted by key"},
	inject: changeGroupResult(func(locks []stores.LockInfo) []stores.LockInfo { slices.Reverse(locks); return locks }),
}, {
	name: "tells first what of a group is held",
	rows: []string{"a group is sorted by key"},
	inject: changeGroupResult(func(locks []stores.LockInfo) []stores.LockInfo {
		return slices.Concat(filter(locks, isHeld), filter(locks, isFree))
	}),
}, {
	name:   "tells one page of a group",
	rows:   []string{"a group is complete"},
	inject: changeGroupResult(func(locks []stores.LockInfo) []stores.LockInfo { return locks[:min(len(locks), 100)] }),
}, {
	name: "takes the beginning of a key for its group",
	rows: []string{"a lock belongs to one group"},
	inject: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) {
			locks, err := f.Store.List(ctx, group)
			return filter(locks, func(l stores.LockInfo) bool { return l.DeclaredTTL > 0 }), err
		}
	},
}, {
	name: "tells of a group what is held and not declared",
	rows: []string{"a held lock can be declared", "a lock belongs to one group"},
	inject: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) { return f.Store.List(ctx, group) }
	},
}, {
	name: "withdraws a lock of whatever group",
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
	name: "gives a lock of whatever group",
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
	name:   "reads groups up to a NUL",
	rows:   []string{"a group returns names unchanged"},
	inject: changeGroups(truncateAt("\x00")),
}, {
	name:   "takes groups for UTF-8",
	rows:   []string{"a group returns names of any bytes unchanged"},
	inject: changeGroups(func(name string) string { return strings.ToValidUTF8(name, "\ufffd") }),
}, {
	name: "tells the owners in a group with their white space trimmed",
	rows: []string{"a group returns names unchanged"},
	inject: changeGroupResult(func(locks []stores.LockInfo) []stores.LockInfo {
		for i := range locks {
			locks[i].Owner = strings.TrimSpace(locks[i].Owner)
		}
		return locks
	}),
}, {
	name:   "lists what is held only",
	rows:   []string{"a list has free declared locks"},
	inject: changeLists(func(locks []stores.LockInfo) []stores.LockInfo { return filter(locks, isHeld) }),
}, {
	name: "lists what is held and then what is declared",
	rows: []string{"a list has free declared locks"},
	inject: changeLists(func(locks []stores.LockInfo) []stores.LockInfo {
		return slices.Concat(filter(locks, isHeld), filter(locks, isFree))
	}),
}, {
	name: "looks for what is held and for what is free in two steps",
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
	name: "tells of no waiters where nobody holds the lock",
	rows: []string{"a free lock is listed with its waiters"},
	inject: changeLockInfos(func(l *stores.LockInfo) {
		if l.Owner == "" {
			l.Waiters = 0
		}
	}),
}}
