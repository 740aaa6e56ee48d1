package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// brokenDeclarations are stores that let locks exist in the wrong way.
var brokenDeclarations = []broken{{
	what: "does not declare",
	caught: []string{
		"a declared lock exists while nobody holds it", "a group is complete", "a group has names as they were given",
		"a group has names of any bytes",
	},
	with: func(f *faulty) {
		f.declare = func(ctx context.Context, _ stores.Declaration) error { return ctx.Err() }
	},
}, {
	what:   "tells what was declared as what was asked for",
	caught: []string{"a declared lock exists while nobody holds it", "a list has declared locks that nobody holds"},
	with: redraws(func(l *stores.Lock) {
		if l.Owner == "" {
			l.TTL = l.Declared
		}
	}),
}, {
	what:   "tells declared locks as free",
	caught: []string{"a declared lock is told as it is held"},
	with: redraws(func(l *stores.Lock) {
		if l.Declared > 0 {
			*l = stores.Lock{Key: l.Key, Declared: l.Declared}
		}
	}),
}, {
	what:   "tells declared locks without their metadata",
	caught: []string{"a declared lock is told as it is held"},
	with:   redraws(func(l *stores.Lock) { l.Metadata = nil }),
}, {
	what:   "declares a lock for its first holder",
	caught: []string{"a declared lock outlives those who hold it"},
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
	caught: []string{"a declared lock outlives those who hold it"},
	with: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.Lock, error) {
			locks, err := f.Store.Group(ctx, group)
			return filter(locks, func(l stores.Lock) bool {
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
	caught: []string{"a lock that is held is declared"},
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
	caught: []string{"a lock that is held is declared"},
	with: func(f *faulty) {
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			_ = f.Store.Revoke(ctx, d.Key, "")
			return f.Store.Declare(ctx, d)
		}
	},
}, {
	what:   "declares whether or not ctx has ended",
	caught: []string{"a declaration whose ctx has ended changes nothing", ctxRow},
	with: func(f *faulty) {
		f.declare = func(_ context.Context, d stores.Declaration) error { return f.Store.Declare(context.Background(), d) }
	},
}, {
	what:   "withdraws whether or not ctx has ended",
	caught: []string{"a declaration whose ctx has ended changes nothing", ctxRow},
	with: func(f *faulty) {
		f.withdraw = func(_ context.Context, group, key string) error {
			return f.Store.Withdraw(context.Background(), group, key)
		}
	},
}, {
	what:   "tells a group after Close",
	caught: []string{"a closed client answers ErrClosed"},
	with: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.Lock, error) { return f.open().Group(ctx, group) }
	},
}, {
	what:   "knows no limit",
	caught: []string{"a group has as many locks as the limit says"},
	with:   declarations(func(d *stores.Declaration) { d.Limit = 0 }),
}, {
	what:   "lets in one more than the limit says",
	caught: []string{"a group has as many locks as the limit says"},
	with:   declarations(func(d *stores.Declaration) { d.Limit++ }),
}, {
	what:   "counts the locks that nobody holds",
	caught: []string{"a group has as many locks as the limit says"},
	with: func(f *faulty) {
		f.limits(func(d stores.Declaration) int {
			locks, _ := f.Store.Group(context.Background(), d.Group)
			return len(filter(locks, func(l stores.Lock) bool { return l.Owner == "" }))
		})
	},
}, {
	what:   "looks at the limit first",
	caught: []string{"a lock is declared already, be its group full or not"},
	with: func(f *faulty) {
		f.limits(func(d stores.Declaration) int {
			locks, _ := f.Store.Group(context.Background(), d.Group)
			return len(locks)
		})
	},
}, {
	what:   "takes no limit for none at all",
	caught: []string{"a limit is that of the call"},
	with:   declarations(func(d *stores.Declaration) { d.Limit = max(d.Limit, 1) }),
}, {
	what:   "keeps the first limit of a group",
	caught: []string{"a limit is that of the call"},
	with: func(f *faulty) {
		declarations(func(d *stores.Declaration) {
			first, _ := f.notes.LoadOrStore(d.Group, d.Limit)
			d.Limit = first.(int)
		})(f)
	},
}, {
	what:   "counts the locks of all groups",
	caught: []string{"what is not of the group does not fill it"},
	with: func(f *faulty) {
		f.limits(func(stores.Declaration) int {
			locks, _ := f.Store.List(context.Background(), "")
			return len(filter(locks, func(l stores.Lock) bool { return l.Declared > 0 }))
		})
	},
}, {
	what:   "counts the locks whose key begins with the group",
	caught: []string{"what is not of the group does not fill it"},
	with: func(f *faulty) {
		f.limits(func(d stores.Declaration) int {
			locks, _ := f.Store.List(context.Background(), d.Group)
			return len(locks)
		})
	},
}}

// brokenGroups are stores that tell the wrong locks of a group, or in a list.
var brokenGroups = []broken{{
	what:   "finds a group without locks an error",
	caught: []string{"a group without locks is told as such"},
	with: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.Lock, error) {
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
	with:   regroups(func(locks []stores.Lock) []stores.Lock { slices.Reverse(locks); return locks }),
}, {
	what:   "tells first what of a group is held",
	caught: []string{"a group is sorted by key"},
	with: regroups(func(locks []stores.Lock) []stores.Lock {
		return slices.Concat(filter(locks, isHeld), filter(locks, isFree))
	}),
}, {
	what:   "tells one page of a group",
	caught: []string{"a group is complete"},
	with:   regroups(func(locks []stores.Lock) []stores.Lock { return locks[:min(len(locks), 100)] }),
}, {
	what:   "takes the beginning of a key for its group",
	caught: []string{"a lock is of its group and of no other"},
	with: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.Lock, error) {
			locks, err := f.Store.List(ctx, group)
			return filter(locks, func(l stores.Lock) bool { return l.Declared > 0 }), err
		}
	},
}, {
	what:   "tells of a group what is held and not declared",
	caught: []string{"a lock that is held is declared", "a lock is of its group and of no other"},
	with: func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.Lock, error) { return f.Store.List(ctx, group) }
	},
}, {
	what:   "withdraws a lock of whatever group",
	caught: []string{"a lock is of its group and of no other"},
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
	caught: []string{"a lock is of its group and of no other"},
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
	caught: []string{"a group has names as they were given"},
	with:   regrouped(strings.ToLower),
}, {
	what:   "reads groups up to a NUL",
	caught: []string{"a group has names as they were given"},
	with:   regrouped(upTo("\x00")),
}, {
	what:   "takes groups for UTF-8",
	caught: []string{"a group has names of any bytes"},
	with:   regrouped(func(name string) string { return strings.ToValidUTF8(name, "\ufffd") }),
}, {
	what:   "tells the owners in a group with their white space trimmed",
	caught: []string{"a group has names as they were given"},
	with: regroups(func(locks []stores.Lock) []stores.Lock {
		for i := range locks {
			locks[i].Owner = strings.TrimSpace(locks[i].Owner)
		}
		return locks
	}),
}, {
	what:   "lists what is held only",
	caught: []string{"a list has declared locks that nobody holds"},
	with:   relists(func(locks []stores.Lock) []stores.Lock { return filter(locks, isHeld) }),
}, {
	what:   "lists what is held and then what is declared",
	caught: []string{"a list has declared locks that nobody holds"},
	with: relists(func(locks []stores.Lock) []stores.Lock {
		return slices.Concat(filter(locks, isHeld), filter(locks, isFree))
	}),
}, {
	what:   "looks for what is held and for what is free in two steps",
	caught: []string{"a declared lock is told throughout while it changes hands"},
	with: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.Lock, error) {
			held, _ := f.Store.List(ctx, prefix)
			pause()
			free, err := f.Store.List(ctx, prefix)
			all := slices.Concat(filter(held, isHeld), filter(free, isFree))
			slices.SortFunc(all, func(a, b stores.Lock) int { return strings.Compare(a.Key, b.Key) })
			return all, err
		}
	},
}, {
	what:   "tells of no waiters where nobody holds the lock",
	caught: []string{"a free lock is told with those who wait for it"},
	with: redraws(func(l *stores.Lock) {
		if l.Owner == "" {
			l.Waiters = 0
		}
	}),
}}

func isHeld(l stores.Lock) bool { return l.Owner != "" }
func isFree(l stores.Lock) bool { return l.Owner == "" }

// groupIn returns the group of a lock from its key, as rows name them.
func groupIn(key string) string { return key[:prefixLen] + groupOf(key[prefixLen:]) }

// declarations changes each declaration.
func declarations(change func(d *stores.Declaration)) func(*faulty) {
	return func(f *faulty) {
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			change(&d)
			return f.Store.Declare(ctx, d)
		}
	}
}

// limits looks first whether as many locks as count tells are fewer than the limit.
func (f *faulty) limits(count func(d stores.Declaration) int) {
	f.declare = func(ctx context.Context, d stores.Declaration) error {
		if d.Limit > 0 && count(d) >= d.Limit {
			return fmt.Errorf("memory: declare %q: %w", d.Key, stores.ErrLimit)
		}
		d.Limit = 0
		return f.Store.Declare(ctx, d)
	}
}

// regroups changes what is told of each group.
func regroups(change func([]stores.Lock) []stores.Lock) func(*faulty) {
	return func(f *faulty) {
		f.group = func(ctx context.Context, group string) ([]stores.Lock, error) {
			locks, err := f.Store.Group(ctx, group)
			return change(locks), err
		}
	}
}

// redraws changes each lock in a group and in a list.
func redraws(change func(l *stores.Lock)) func(*faulty) {
	return func(f *faulty) {
		regroups(func(locks []stores.Lock) []stores.Lock {
			for i := range locks {
				change(&locks[i])
			}
			return locks
		})(f)
		rewrites(change)(f)
	}
}

// regrouped changes the name of each group.
func regrouped(change func(group string) string) func(*faulty) {
	return func(f *faulty) {
		declarations(func(d *stores.Declaration) { d.Group = change(d.Group) })(f)
		asks(func(req *stores.Request) { req.Group = change(req.Group) })(f)
		f.withdraw = func(ctx context.Context, group, key string) error { return f.Store.Withdraw(ctx, change(group), key) }
		f.group = func(ctx context.Context, group string) ([]stores.Lock, error) {
			return f.Store.Group(ctx, change(group))
		}
	}
}

// tryAs replaces TryLock for requests with a group.
func (f *faulty) tryAs(try func(ctx context.Context, req stores.Request) (stores.Grant, error)) {
	f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		if req.Group == "" {
			return f.Store.TryLock(ctx, req)
		}
		return try(ctx, req)
	}
}

// waitAs replaces Lock for requests with a group.
func (f *faulty) waitAs(wait func(ctx context.Context, req stores.Request) (stores.Grant, error)) {
	f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		if req.Group == "" {
			return f.Store.Lock(ctx, req)
		}
		return wait(ctx, req)
	}
}

// ungrouped is the request as if the lock were like any other.
func ungrouped(req stores.Request) stores.Request {
	req.Group, req.TTL = "", lease
	return req
}
