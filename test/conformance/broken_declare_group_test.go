package conformance

import (
	"context"
	"slices"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// brokenGroups are stores that tell the wrong locks of a group, or in a list.
var brokenGroups = []broken{{
	what:   "finds a group without locks an error",
	caught: []string{"a group without locks is empty"},
	with: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) {
			locks, err := f.Store.Group(ctx, group)
			if err == nil && len(locks) == 0 {
				err = stores.ErrNotDeclared
			}
			return locks, err
		}
	},
}, {
	what:   "tells a group in no order",
	caught: []string{"a group is sorted by key"},
	with:   regroups(func(locks []stores.LockInfo) []stores.LockInfo { slices.Reverse(locks); return locks }),
}, {
	what:   "tells first what of a group is held",
	caught: []string{"a group is sorted by key"},
	with: regroups(func(locks []stores.LockInfo) []stores.LockInfo {
		return slices.Concat(filter(locks, isHeld), filter(locks, isFree))
	}),
}, {
	what:   "tells one page of a group",
	caught: []string{"a group is complete"},
	with:   regroups(func(locks []stores.LockInfo) []stores.LockInfo { return locks[:min(len(locks), 100)] }),
}, {
	what:   "takes the beginning of a key for its group",
	caught: []string{"a lock belongs to one group"},
	with: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) {
			locks, err := f.Store.List(ctx, group)
			return filter(locks, func(l stores.LockInfo) bool { return l.DeclaredTTL > 0 }), err
		}
	},
}, {
	what:   "tells of a group what is held and not declared",
	caught: []string{"a held lock can be declared", "a lock belongs to one group"},
	with: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) { return f.Store.List(ctx, group) }
	},
}, {
	what:   "withdraws a lock of whatever group",
	caught: []string{"a lock belongs to one group"},
	with: func(f *faulty) {
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
	what:   "gives a lock of whatever group",
	caught: []string{"a lock belongs to one group"},
	with: func(f *faulty) {
		f.tryAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
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
	what:   "folds the case of groups",
	caught: []string{"a group returns names unchanged"},
	with:   regrouped(strings.ToLower),
}, {
	what:   "reads groups up to a NUL",
	caught: []string{"a group returns names unchanged"},
	with:   regrouped(upTo("\x00")),
}, {
	what:   "takes groups for UTF-8",
	caught: []string{"a group returns names of any bytes unchanged"},
	with:   regrouped(func(name string) string { return strings.ToValidUTF8(name, "\ufffd") }),
}, {
	what:   "tells the owners in a group with their white space trimmed",
	caught: []string{"a group returns names unchanged"},
	with: regroups(func(locks []stores.LockInfo) []stores.LockInfo {
		for i := range locks {
			locks[i].Owner = strings.TrimSpace(locks[i].Owner)
		}
		return locks
	}),
}, {
	what:   "lists what is held only",
	caught: []string{"a list has free declared locks"},
	with:   relists(func(locks []stores.LockInfo) []stores.LockInfo { return filter(locks, isHeld) }),
}, {
	what:   "lists what is held and then what is declared",
	caught: []string{"a list has free declared locks"},
	with: relists(func(locks []stores.LockInfo) []stores.LockInfo {
		return slices.Concat(filter(locks, isHeld), filter(locks, isFree))
	}),
}, {
	what:   "looks for what is held and for what is free in two steps",
	caught: []string{"a declared lock stays listed while its holder changes"},
	with: func(f *faulty) {
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
	what:   "tells of no waiters where nobody holds the lock",
	caught: []string{"a free lock is listed with its waiters"},
	with: redraws(func(l *stores.LockInfo) {
		if l.Owner == "" {
			l.Waiters = 0
		}
	}),
}}
