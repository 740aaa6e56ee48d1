package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// brokenWithdrawals are stores that withdraw in the wrong way.
var brokenWithdrawals = []broken{{
	what: "does not withdraw",
	caught: []string{
		"a withdrawn lock no longer exists", "a group without locks is empty", "tokens grow across a withdrawal",
	},
	with: func(f *faulty) { f.withdraw = func(ctx context.Context, _, _ string) error { return ctx.Err() } },
}, {
	what:   "is content when there is nothing to withdraw",
	caught: []string{"a lock that is not declared cannot be withdrawn"},
	with: func(f *faulty) {
		f.withdraw = func(ctx context.Context, group, key string) error {
			if err := f.Store.Withdraw(ctx, group, key); !errors.Is(err, stores.ErrNotDeclared) {
				return err
			}
			return nil
		}
	},
}, {
	what:   "revokes what is not declared when it shall withdraw it",
	caught: []string{"a lock that is not declared cannot be withdrawn"},
	with: func(f *faulty) {
		f.withdraw = func(ctx context.Context, group, key string) error {
			err := f.Store.Withdraw(ctx, group, key)
			if errors.Is(err, stores.ErrNotDeclared) {
				_ = f.Store.Revoke(ctx, key, "")
			}
			return err
		}
	},
}, {
	what: "leaves a withdrawn lock to its holder",
	caught: []string{
		"withdrawing a lock ends its hold", "declared and other locks can be acquired together",
		"a withdrawn lock cannot be revoked",
	},
	with: func(f *faulty) {
		f.withdraw = func(ctx context.Context, group, key string) error {
			holder := f.holder(key)
			err := f.Store.Withdraw(ctx, group, key)
			if holder != "" {
				_, _ = f.Store.TryLock(ctx, stores.Request{Key: key, Owner: holder, TTL: lease})
			}
			return err
		}
	},
}, {
	what:   "takes a withdrawn lock only from one of the group",
	caught: []string{"withdrawing a lock ends its hold"},
	with: func(f *faulty) {
		answers(func(req stores.Request, _ *stores.Grant) { f.notes.Store(req.Key, req) })(f)
		f.withdraw = func(ctx context.Context, group, key string) error {
			holder := f.holder(key)
			err := f.Store.Withdraw(ctx, group, key)
			if last, ok := f.notes.Load(key); ok && holder != "" && last.(stores.Request).Group == "" {
				_, _ = f.Store.TryLock(ctx, last.(stores.Request))
			}
			return err
		}
	},
}, {
	what:   "withdraws all that begins with the key",
	caught: []string{"a withdrawal affects one lock"},
	with: func(f *faulty) {
		f.withdraw = func(ctx context.Context, group, key string) error {
			locks, _ := f.Store.List(ctx, key+"/")
			for _, l := range locks {
				_ = f.Store.Withdraw(ctx, group, l.Key)
			}
			return f.Store.Withdraw(ctx, group, key)
		}
	},
}, {
	what:   "takes all locks from the holder of a withdrawn one",
	caught: []string{"a withdrawal affects one lock", "declared and other locks can be acquired together"},
	with: func(f *faulty) {
		f.withdraw = func(ctx context.Context, group, key string) error {
			holder := f.holder(key)
			locks, _ := f.Store.List(ctx, "")
			for _, l := range locks {
				_ = f.Store.Revoke(ctx, l.Key, holder)
			}
			return f.Store.Withdraw(ctx, group, key)
		}
	},
}, {
	what:   "gives a lock that is declared again to its old holder",
	caught: []string{"a withdrawn lock can be declared again"},
	with: func(f *faulty) {
		f.withdraw = func(ctx context.Context, group, key string) error {
			f.notes.Store(key, f.holder(key))
			return f.Store.Withdraw(ctx, group, key)
		}
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			err := f.Store.Declare(ctx, d)
			if holder, ok := f.notes.Load(d.Key); ok && holder != "" {
				_, _ = f.Store.TryLock(ctx, stores.Request{Key: d.Key, Owner: holder.(string), TTL: lease})
			}
			return err
		}
	},
}, {
	what:   "declares a lock again as it was before",
	caught: []string{"a withdrawn lock can be declared again"},
	with: func(f *faulty) {
		declarations(func(d *stores.Declaration) {
			first, _ := f.notes.LoadOrStore(d.Key, d.TTL)
			d.TTL = first.(time.Duration)
		})(f)
	},
}, {
	what:   "forgets the token of a lock that is withdrawn",
	caught: []string{"tokens grow across a withdrawal", "tokens grow after the lock did not exist for a while"},
	with: func(f *faulty) {
		f.counts(func(req stores.Request) string { return req.Key })
		f.withdraw = func(ctx context.Context, group, key string) error {
			f.notes.Delete(key)
			return f.Store.Withdraw(ctx, group, key)
		}
	},
}, {
	what:   "forgets the token of a lock that was withdrawn a while ago",
	caught: []string{"tokens grow after the lock did not exist for a while"},
	with: func(f *faulty) {
		f.counts(func(req stores.Request) string { return req.Key })
		f.withdraw = func(ctx context.Context, group, key string) error {
			time.AfterFunc(2*time.Millisecond, func() { f.notes.Delete(key) })
			return f.Store.Withdraw(ctx, group, key)
		}
	},
}, {
	what:   "renews what was withdrawn",
	caught: []string{"a withdrawn lock cannot be renewed"},
	with: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if g, err := f.Store.Renew(ctx, req); !errors.Is(err, stores.ErrNotHeld) {
				return g, err
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	what:   "revokes what was withdrawn",
	caught: []string{"a withdrawn lock cannot be revoked"},
	with: func(f *faulty) {
		answers(func(req stores.Request, _ *stores.Grant) { f.notes.Store(req.Key, true) })(f)
		f.revoke = func(ctx context.Context, key, owner string) error {
			err := f.Store.Revoke(ctx, key, owner)
			if _, ok := f.notes.LoadAndDelete(key); ok && errors.Is(err, stores.ErrNotHeld) {
				return nil
			}
			return err
		}
	},
}}

// brokenMembers are stores that give one of a group the wrong answer.
var brokenMembers = []broken{{
	what:   "grants a declared lock and does not take it",
	caught: []string{"a free declared lock is granted", "a held declared lock is refused to other owners"},
	with: func(f *faulty) {
		f.tryAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if g.Acquired {
				_ = f.Store.Unlock(ctx, req.Key, req.Owner)
			}
			return g, err
		})
	},
}, {
	what:   "gives no token with a declared lock",
	caught: []string{"a free declared lock is granted"},
	with: answers(func(req stores.Request, g *stores.Grant) {
		if req.Group != "" {
			g.Token = 0
		}
	}),
}, {
	what:   "gives a lock that does not exist",
	caught: []string{"a lock that is not declared is rejected", "a withdrawn lock no longer exists"},
	with: func(f *faulty) {
		f.tryAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if g, err := f.Store.TryLock(ctx, req); !errors.Is(err, stores.ErrNotDeclared) {
				return g, err
			}
			return f.Store.TryLock(ctx, ungrouped(req))
		})
	},
}, {
	what:   "refuses a lock that does not exist",
	caught: []string{"a lock that is not declared is rejected"},
	with: func(f *faulty) {
		f.tryAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if g, err := f.Store.TryLock(ctx, req); !errors.Is(err, stores.ErrNotDeclared) {
				return g, err
			}
			return stores.Grant{}, nil
		})
	},
}, {
	what:   "looks who holds a lock before it looks whether it exists",
	caught: []string{"a lock that is not declared is rejected"},
	with: func(f *faulty) {
		f.tryAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if holder := f.holder(req.Key); holder != "" && holder != req.Owner {
				return stores.Grant{}, nil
			}
			return f.Store.TryLock(ctx, req)
		})
	},
}, {
	what:   "finds it an error that a declared lock is held",
	caught: []string{"a held declared lock is refused to other owners"},
	with: func(f *faulty) {
		f.tryAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if err == nil && !g.Acquired {
				err = fmt.Errorf("memory: try lock %q: %w", req.Key, stores.ErrNotOwner)
			}
			return g, err
		})
	},
}, {
	what:   "refuses a declared lock to its holder without a word",
	caught: []string{"a declared lock is rejected if its owner holds it"},
	with: func(f *faulty) {
		f.tryAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if g, err := f.Store.TryLock(ctx, req); !errors.Is(err, stores.ErrRepeated) {
				return g, err
			}
			return stores.Grant{}, nil
		})
	},
}, {
	what:   "gives a declared lock to its holder again",
	caught: []string{"a declared lock is rejected if its owner holds it"},
	with: func(f *faulty) {
		f.tryAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if g, err := f.Store.TryLock(ctx, req); !errors.Is(err, stores.ErrRepeated) {
				return g, err
			}
			l, _ := f.lock(req.Key)
			return f.Store.Renew(ctx, stores.Request{Key: req.Key, Owner: req.Owner, TTL: l.DeclaredTTL})
		})
	},
}, {
	what:   "knows only those holders who named the group",
	caught: []string{"a declared lock is rejected if its owner holds it"},
	with: func(f *faulty) {
		answers(func(req stores.Request, _ *stores.Grant) { f.notes.Store(req.Key, req.Group) })(f)
		try := f.tryLock
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := try(ctx, req)
			if group, ok := f.notes.Load(req.Key); ok && group == "" && errors.Is(err, stores.ErrRepeated) {
				return stores.Grant{}, nil
			}
			return g, err
		}
	},
}, {
	what:   "remembers holders whose time is over",
	caught: []string{"an owner acquires a declared lock again after it expired"},
	with: func(f *faulty) {
		f.tryAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if last, ok := f.notes.Load(req.Key); ok && last == req.Owner {
				return stores.Grant{}, fmt.Errorf("memory: try lock %q: %w", req.Key, stores.ErrRepeated)
			}
			g, err := f.Store.TryLock(ctx, req)
			if g.Acquired {
				f.notes.Store(req.Key, req.Owner)
			}
			return g, err
		})
	},
}, {
	what:   "gives each holder of a declared lock the TTL of the declaration",
	caught: []string{"requests without a group treat a declared lock like any other"},
	with: func(f *faulty) {
		asks(func(req *stores.Request) {
			if l, ok := f.lock(req.Key); ok && l.DeclaredTTL > 0 && req.Group == "" {
				req.TTL = l.DeclaredTTL
			}
		})(f)
	},
}, {
	what:   "tells who does not name the group that it has the lock",
	caught: []string{"requests without a group treat a declared lock like any other"},
	with: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if l, ok := f.lock(req.Key); ok && l.DeclaredTTL > 0 && l.Owner == req.Owner {
				return stores.Grant{}, fmt.Errorf("memory: try lock %q: %w", req.Key, stores.ErrRepeated)
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	what:   "takes no declared lock together with others",
	caught: []string{"declared and other locks can be acquired together"},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			for _, key := range req.Keys {
				if _, declared := f.lock(key); declared {
					return stores.Grant{}, ctx.Err()
				}
			}
			return f.Store.LockAll(ctx, req)
		}
	},
}}
