package conformance

import (
	"context"
	"errors"
	"fmt"

	"github.com/mortise-lock/mortise/stores"
)

// brokenDeclarations are stores that let locks exist in the wrong way.
var brokenDeclarations = []broken{{
	what: "does not declare",
	caught: []string{
		"a declared lock exists while it is free", "a group is complete", "a group returns names unchanged",
		"a group returns names of any bytes unchanged",
	},
	with: func(f *faulty) {
		f.declare = func(ctx context.Context, _ stores.Declaration) error { return ctx.Err() }
	},
}, {
	what:   "tells what was declared as what was asked for",
	caught: []string{"a declared lock exists while it is free", "a list has free declared locks"},
	with: redraws(func(l *stores.LockInfo) {
		if l.Owner == "" {
			l.TTL = l.DeclaredTTL
		}
	}),
}, {
	what:   "tells declared locks as free",
	caught: []string{"a group returns the holder of a declared lock"},
	with: redraws(func(l *stores.LockInfo) {
		if l.DeclaredTTL > 0 {
			*l = stores.LockInfo{Key: l.Key, DeclaredTTL: l.DeclaredTTL}
		}
	}),
}, {
	what:   "tells declared locks without their metadata",
	caught: []string{"a group returns the holder of a declared lock"},
	with:   redraws(func(l *stores.LockInfo) { l.Metadata = nil }),
}, {
	what:   "declares a lock for its first holder",
	caught: []string{"a declared lock outlives its holders"},
	with: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			err := f.Store.Unlock(ctx, key, owner)
			if err == nil {
				_ = f.Store.Withdraw(ctx, groupIn(key), key)
			}
			return err
		}
	},
}, {
	what:   "lets a declared lock end with its TTL",
	caught: []string{"a declared lock outlives its holders"},
	with: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) {
			locks, err := f.Store.Group(ctx, group)
			return filter(locks, func(l stores.LockInfo) bool {
				_, taken := f.notes.Load(l.Key)
				return !taken || l.Owner != ""
			}), err
		}
		answers(func(req stores.Request, _ *stores.Grant) { f.notes.Store(req.Key, true) })(f)
	},
}, {
	what:   "is content with a lock that is declared already",
	caught: []string{"a lock is declared once"},
	with: func(f *faulty) {
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			if err := f.Store.Declare(ctx, d); !errors.Is(err, stores.ErrDeclared) {
				return err
			}
			return nil
		}
	},
}, {
	what:   "changes the TTL of a lock that is declared already",
	caught: []string{"a lock is declared once"},
	with: func(f *faulty) {
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
	what:   "declares only what nobody holds",
	caught: []string{"a held lock can be declared"},
	with: func(f *faulty) {
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			if f.holder(d.Key) != "" {
				return fmt.Errorf("memory: declare %q: %w", d.Key, stores.ErrDeclared)
			}
			return f.Store.Declare(ctx, d)
		}
	},
}, {
	what:   "takes a lock from its holder to declare it",
	caught: []string{"a held lock can be declared"},
	with: func(f *faulty) {
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			_ = f.Store.Revoke(ctx, d.Key, "")
			return f.Store.Declare(ctx, d)
		}
	},
}, {
	what:   "withdraws what it has declared when it is closed",
	caught: []string{"declared locks outlive their client"},
	with: func(f *faulty) {
		declarations(func(d *stores.Declaration) { f.notes.Store(d.Key, d.Group) })(f)
		f.close = func() error {
			for key, group := range f.notes.Range {
				_ = f.Store.Withdraw(context.Background(), group.(string), key.(string))
			}
			return f.Store.Close()
		}
	},
}, {
	what:   "declares whether or not ctx has ended",
	caught: []string{"a Declare whose ctx has ended changes nothing", ctxRow},
	with: func(f *faulty) {
		f.declare = func(_ context.Context, d stores.Declaration) error { return f.Store.Declare(context.Background(), d) }
	},
}, {
	what:   "withdraws whether or not ctx has ended",
	caught: []string{"a Declare whose ctx has ended changes nothing", ctxRow},
	with: func(f *faulty) {
		f.withdraw = func(_ context.Context, group, key string) error {
			return f.Store.Withdraw(context.Background(), group, key)
		}
	},
}, {
	what:   "tells a group after Close",
	caught: []string{"a closed client returns ErrClosed"},
	with: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.LockInfo, error) { return f.open().Group(ctx, group) }
	},
}, {
	what:   "knows no limit",
	caught: []string{"a group has at most as many locks as its limit"},
	with:   declarations(func(d *stores.Declaration) { d.Limit = 0 }),
}, {
	what:   "lets in one more than the limit says",
	caught: []string{"a group has at most as many locks as its limit"},
	with:   declarations(func(d *stores.Declaration) { d.Limit++ }),
}, {
	what:   "counts the locks that nobody holds",
	caught: []string{"a group has at most as many locks as its limit"},
	with: func(f *faulty) {
		f.limits(func(d stores.Declaration) int {
			locks, _ := f.Store.Group(context.Background(), d.Group)
			return len(filter(locks, func(l stores.LockInfo) bool { return l.Owner == "" }))
		})
	},
}, {
	what:   "looks at the limit first",
	caught: []string{"a declared lock in a full group fails with ErrDeclared"},
	with: func(f *faulty) {
		f.limits(func(d stores.Declaration) int {
			locks, _ := f.Store.Group(context.Background(), d.Group)
			return len(locks)
		})
	},
}, {
	what:   "takes no limit for none at all",
	caught: []string{"each Declare has its own limit"},
	with:   declarations(func(d *stores.Declaration) { d.Limit = max(d.Limit, 1) }),
}, {
	what:   "keeps the first limit of a group",
	caught: []string{"each Declare has its own limit"},
	with: func(f *faulty) {
		declarations(func(d *stores.Declaration) {
			first, _ := f.notes.LoadOrStore(d.Group, d.Limit)
			d.Limit = first.(int)
		})(f)
	},
}, {
	what:   "counts the locks of all groups",
	caught: []string{"a limit counts only declared locks of the group"},
	with: func(f *faulty) {
		f.limits(func(stores.Declaration) int {
			locks, _ := f.Store.List(context.Background(), "")
			return len(filter(locks, func(l stores.LockInfo) bool { return l.DeclaredTTL > 0 }))
		})
	},
}, {
	what:   "counts the locks whose key begins with the group",
	caught: []string{"a limit counts only declared locks of the group"},
	with: func(f *faulty) {
		f.limits(func(d stores.Declaration) int {
			locks, _ := f.Store.List(context.Background(), d.Group)
			return len(locks)
		})
	},
}}
