package conformance

import (
	"context"
	"errors"
	"fmt"

	"github.com/mortise-lock/mortise/stores"
)

// brokenDeclarations break the rules of Declare.
var brokenDeclarations = []broken{{
	name: "does not declare",
	rows: []string{
		"a declared lock exists while it is free", "a group is complete", "a group returns names unchanged",
		"a group returns names of any bytes unchanged",
	},
	inject: func(f *faulty) {
		f.declare = func(ctx context.Context, _ stores.Declaration) error { return ctx.Err() }
	},
}, {
	name: "returns the declared TTL as the TTL of a free lock",
	rows: []string{"a declared lock exists while it is free", "a list has free declared locks"},
	inject: changeLockInfos(func(l *stores.LockInfo) {
		if l.Owner == "" {
			l.TTL = l.DeclaredTTL
		}
	}),
}, {
	name: "returns held declared locks as free",
	rows: []string{"a group returns the holder of a declared lock"},
	inject: changeLockInfos(func(l *stores.LockInfo) {
		if l.DeclaredTTL > 0 {
			*l = stores.LockInfo{Key: l.Key, DeclaredTTL: l.DeclaredTTL}
		}
	}),
}, {
	name:   "returns declared locks without metadata",
	rows:   []string{"a group returns the holder of a declared lock"},
	inject: changeLockInfos(func(l *stores.LockInfo) { l.Metadata = nil }),
}, {
	name: "withdraws declared locks in Unlock",
	rows: []string{"a declared lock outlives its holders"},
	inject: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			err := f.Store.Unlock(ctx, key, owner)
			if err == nil {
				_ = f.Store.Withdraw(ctx, groupOfKey(key), key)
			}
			return err
		}
	},
}, {
	name: "withdraws declared locks at the end of their TTL",
	rows: []string{"a declared lock outlives its holders"},
	inject: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) {
			locks, err := f.Store.Group(ctx, group)
			return filter(locks, func(l stores.LockInfo) bool {
				_, taken := f.shared.Load(l.Key)
				return !taken || l.Owner != ""
			}), err
		}
		changeGrants(func(req stores.Request, _ *stores.Grant) { f.shared.Store(req.Key, true) })(f)
	},
}, {
	name: "returns no error for a lock that is already declared",
	rows: []string{"a lock is declared once"},
	inject: func(f *faulty) {
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			if err := f.Store.Declare(ctx, d); !errors.Is(err, stores.ErrDeclared) {
				return err
			}
			return nil
		}
	},
}, {
	name: "changes the TTL of a lock that is already declared",
	rows: []string{"a lock is declared once"},
	inject: func(f *faulty) {
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			err := f.Store.Declare(ctx, d)
			if errors.Is(err, stores.ErrDeclared) {
				_ = f.Store.Withdraw(ctx, d.Group, d.Key)
				_ = f.Store.Declare(ctx, d)
			}
			return err
		}
	},
}, {
	name: "declares only free locks",
	rows: []string{"a held lock can be declared"},
	inject: func(f *faulty) {
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			if f.holder(d.Key) != "" {
				return fmt.Errorf("memory: declare %q: %w", d.Key, stores.ErrDeclared)
			}
			return f.Store.Declare(ctx, d)
		}
	},
}, {
	name: "revokes a lock in Declare",
	rows: []string{"a held lock can be declared"},
	inject: func(f *faulty) {
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			_ = f.Store.Revoke(ctx, d.Key, "")
			return f.Store.Declare(ctx, d)
		}
	},
}, {
	name: "withdraws its locks in Close",
	rows: []string{"declared locks outlive their client"},
	inject: func(f *faulty) {
		changeDeclarations(func(d *stores.Declaration) { f.shared.Store(d.Key, d.Group) })(f)
		f.close = func() error {
			for key, group := range f.shared.Range {
				_ = f.Store.Withdraw(context.Background(), group.(string), key.(string))
			}
			return f.Store.Close()
		}
	},
}, {
	name: "declares after ctx has ended",
	rows: []string{"a Declare whose ctx has ended changes nothing", canceledCallRow},
	inject: func(f *faulty) {
		f.declare = func(_ context.Context, d stores.Declaration) error { return f.Store.Declare(context.Background(), d) }
	},
}, {
	name: "withdraws after ctx has ended",
	rows: []string{"a Declare whose ctx has ended changes nothing", canceledCallRow},
	inject: func(f *faulty) {
		f.withdraw = func(_ context.Context, group, key string) error {
			return f.Store.Withdraw(context.Background(), group, key)
		}
	},
}, {
	name: "returns a group after Close",
	rows: []string{"a closed client returns ErrClosed"},
	inject: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) { return f.open().Group(ctx, group) }
	},
}, {
	name:   "ignores limits",
	rows:   []string{"a group has at most as many locks as its limit"},
	inject: changeDeclarations(func(d *stores.Declaration) { d.Limit = 0 }),
}, {
	name:   "allows one lock more than the limit",
	rows:   []string{"a group has at most as many locks as its limit"},
	inject: changeDeclarations(func(d *stores.Declaration) { d.Limit++ }),
}, {
	name: "counts only the free locks of a group",
	rows: []string{"a group has at most as many locks as its limit"},
	inject: func(f *faulty) {
		f.checkLimit(func(d stores.Declaration) int {
			locks, _ := f.Store.Group(context.Background(), d.Group)
			return len(filter(locks, func(l stores.LockInfo) bool { return l.Owner == "" }))
		})
	},
}, {
	name: "checks the limit before the lock",
	rows: []string{"a declared lock in a full group fails with ErrDeclared"},
	inject: func(f *faulty) {
		f.checkLimit(func(d stores.Declaration) int {
			locks, _ := f.Store.Group(context.Background(), d.Group)
			return len(locks)
		})
	},
}, {
	name:   "treats no limit as a limit of one",
	rows:   []string{"each Declare has its own limit"},
	inject: changeDeclarations(func(d *stores.Declaration) { d.Limit = max(d.Limit, 1) }),
}, {
	name: "keeps the first limit of a group",
	rows: []string{"each Declare has its own limit"},
	inject: func(f *faulty) {
		changeDeclarations(func(d *stores.Declaration) {
			first, _ := f.shared.LoadOrStore(d.Group, d.Limit)
			d.Limit = first.(int)
		})(f)
	},
}, {
	name: "counts the locks of all groups",
	rows: []string{"a limit counts only declared locks of the group"},
	inject: func(f *faulty) {
		f.checkLimit(func(stores.Declaration) int {
			locks, _ := f.Store.List(context.Background(), "")
			return len(filter(locks, func(l stores.LockInfo) bool { return l.DeclaredTTL > 0 }))
		})
	},
}, {
	name: "counts the locks whose key begins with the group",
	rows: []string{"a limit counts only declared locks of the group"},
	inject: func(f *faulty) {
		f.checkLimit(func(d stores.Declaration) int {
			locks, _ := f.Store.List(context.Background(), d.Group)
			return len(locks)
		})
	},
}}
