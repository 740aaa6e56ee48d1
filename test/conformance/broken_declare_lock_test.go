package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// brokenWithdrawals break the rules of Withdraw.
var brokenWithdrawals = []broken{{
	name: "does not withdraw",
	rows: []string{
		"a withdrawn lock no longer exists", "a group without locks is empty", "tokens grow across a withdrawal",
	},
	inject: func(f *faulty) { f.withdraw = func(ctx context.Context, _, _ string) error { return ctx.Err() } },
}, {
	name: "returns no error for a lock that is not declared",
	rows: []string{"a lock that is not declared cannot be withdrawn"},
	inject: func(f *faulty) {
		f.withdraw = func(ctx context.Context, group, key string) error {
			if err := f.Store.Withdraw(ctx, group, key); !errors.Is(err, stores.ErrNotDeclared) {
				return err
			}
			return nil
		}
	},
}, {
	name: "revokes a lock that is not declared in Withdraw",
	rows: []string{"a lock that is not declared cannot be withdrawn"},
	inject: func(f *faulty) {
		f.withdraw = func(ctx context.Context, group, key string) error {
			err := f.Store.Withdraw(ctx, group, key)
			if errors.Is(err, stores.ErrNotDeclared) {
				_ = f.Store.Revoke(ctx, key, "")
			}
			return err
		}
	},
}, {
	name: "keeps the hold of a withdrawn lock",
	rows: []string{
		"withdrawing a lock ends its hold", "declared and other locks can be acquired together",
		"a withdrawn lock cannot be revoked",
	},
	inject: func(f *faulty) {
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
	name: "ends only holds by requests with a group in Withdraw",
	rows: []string{"withdrawing a lock ends its hold"},
	inject: func(f *faulty) {
		changeGrants(func(req stores.Request, _ *stores.Grant) { f.shared.Store(req.Key, req) })(f)
		f.withdraw = func(ctx context.Context, group, key string) error {
			holder := f.holder(key)
			err := f.Store.Withdraw(ctx, group, key)
			if last, ok := f.shared.Load(key); ok && holder != "" && last.(stores.Request).Group == "" {
				_, _ = f.Store.TryLock(ctx, last.(stores.Request))
			}
			return err
		}
	},
}, {
	name: "withdraws all locks whose key begins with the key",
	rows: []string{"a withdrawal affects one lock"},
	inject: func(f *faulty) {
		f.withdraw = func(ctx context.Context, group, key string) error {
			locks, _ := f.Store.List(ctx, key+"/")
			for _, l := range locks {
				_ = f.Store.Withdraw(ctx, group, l.Key)
			}
			return f.Store.Withdraw(ctx, group, key)
		}
	},
}, {
	name: "revokes all locks of the holder in Withdraw",
	rows: []string{"a withdrawal affects one lock", "declared and other locks can be acquired together"},
	inject: func(f *faulty) {
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
	name: "restores the holder of a lock that is declared again",
	rows: []string{"a withdrawn lock can be declared again"},
	inject: func(f *faulty) {
		f.withdraw = func(ctx context.Context, group, key string) error {
			f.shared.Store(key, f.holder(key))
			return f.Store.Withdraw(ctx, group, key)
		}
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			err := f.Store.Declare(ctx, d)
			if holder, ok := f.shared.Load(d.Key); ok && holder != "" {
				_, _ = f.Store.TryLock(ctx, stores.Request{Key: d.Key, Owner: holder.(string), TTL: lease})
			}
			return err
		}
	},
}, {
	name: "restores the TTL of a lock that is declared again",
	rows: []string{"a withdrawn lock can be declared again"},
	inject: func(f *faulty) {
		changeDeclarations(func(d *stores.Declaration) {
			first, _ := f.shared.LoadOrStore(d.Key, d.TTL)
			d.TTL = first.(time.Duration)
		})(f)
	},
}, {
	name: "resets the token in Withdraw",
	rows: []string{"tokens grow across a withdrawal", "tokens grow after the lock did not exist for a while"},
	inject: func(f *faulty) {
		f.countTokens(func(req stores.Request) string { return req.Key })
		f.withdraw = func(ctx context.Context, group, key string) error {
			f.shared.Delete(key)
			return f.Store.Withdraw(ctx, group, key)
		}
	},
}, {
	name: "resets the token some time after Withdraw",
	rows: []string{"tokens grow after the lock did not exist for a while"},
	inject: func(f *faulty) {
		f.countTokens(func(req stores.Request) string { return req.Key })
		f.withdraw = func(ctx context.Context, group, key string) error {
			time.AfterFunc(2*time.Millisecond, func() { f.shared.Delete(key) })
			return f.Store.Withdraw(ctx, group, key)
		}
	},
}, {
	name: "renews withdrawn locks",
	rows: []string{"a withdrawn lock cannot be renewed"},
	inject: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if g, err := f.Store.Renew(ctx, req); !errors.Is(err, stores.ErrNotHeld) {
				return g, err
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	name: "revokes withdrawn locks",
	rows: []string{"a withdrawn lock cannot be revoked"},
	inject: func(f *faulty) {
		changeGrants(func(req stores.Request, _ *stores.Grant) { f.shared.Store(req.Key, true) })(f)
		f.revoke = func(ctx context.Context, key, owner string) error {
			err := f.Store.Revoke(ctx, key, owner)
			if _, ok := f.shared.LoadAndDelete(key); ok && errors.Is(err, stores.ErrNotHeld) {
				return nil
			}
			return err
		}
	},
}}

// brokenMembers break the rules of requests with a group.
var brokenMembers = []broken{{
	name: "grants a declared lock and releases it",
	rows: []string{"a free declared lock is granted", "a held declared lock is refused to other owners"},
	inject: func(f *faulty) {
		f.replaceTryLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if g.Acquired {
				_ = f.Store.Unlock(ctx, req.Key, req.Owner)
			}
			return g, err
		})
	},
}, {
	name: "returns no token with a declared lock",
	rows: []string{"a free declared lock is granted"},
	inject: changeGrants(func(req stores.Request, g *stores.Grant) {
		if req.Group != "" {
			g.Token = 0
		}
	}),
}, {
	name: "grants locks that are not declared",
	rows: []string{"a lock that is not declared is rejected", "a withdrawn lock no longer exists"},
	inject: func(f *faulty) {
		f.replaceTryLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if g, err := f.Store.TryLock(ctx, req); !errors.Is(err, stores.ErrNotDeclared) {
				return g, err
			}
			return f.Store.TryLock(ctx, withoutGroup(req))
		})
	},
}, {
	name: "refuses locks that are not declared",
	rows: []string{"a lock that is not declared is rejected"},
	inject: func(f *faulty) {
		f.replaceTryLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if g, err := f.Store.TryLock(ctx, req); !errors.Is(err, stores.ErrNotDeclared) {
				return g, err
			}
			return stores.Grant{}, nil
		})
	},
}, {
	name: "checks the holder before the declaration",
	rows: []string{"a lock that is not declared is rejected"},
	inject: func(f *faulty) {
		f.replaceTryLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if holder := f.holder(req.Key); holder != "" && holder != req.Owner {
				return stores.Grant{}, nil
			}
			return f.Store.TryLock(ctx, req)
		})
	},
}, {
	name: "returns an error if a declared lock is held",
	rows: []string{"a held declared lock is refused to other owners"},
	inject: func(f *faulty) {
		f.replaceTryLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if err == nil && !g.Acquired {
				err = fmt.Errorf("memory: try lock %q: %w", req.Key, stores.ErrNotOwner)
			}
			return g, err
		})
	},
}, {
	name: "refuses a declared lock to its holder without an error",
	rows: []string{"a declared lock is rejected if its owner holds it"},
	inject: func(f *faulty) {
		f.replaceTryLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if g, err := f.Store.TryLock(ctx, req); !errors.Is(err, stores.ErrRepeated) {
				return g, err
			}
			return stores.Grant{}, nil
		})
	},
}, {
	name: "grants a declared lock to its holder again",
	rows: []string{"a declared lock is rejected if its owner holds it"},
	inject: func(f *faulty) {
		f.replaceTryLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if g, err := f.Store.TryLock(ctx, req); !errors.Is(err, stores.ErrRepeated) {
				return g, err
			}
			l, _ := f.lookup(req.Key)
			return f.Store.Renew(ctx, stores.Request{Key: req.Key, Owner: req.Owner, TTL: l.DeclaredTTL})
		})
	},
}, {
	name: "forgets holders without a group",
	rows: []string{"a declared lock is rejected if its owner holds it"},
	inject: func(f *faulty) {
		changeGrants(func(req stores.Request, _ *stores.Grant) { f.shared.Store(req.Key, req.Group) })(f)
		try := f.tryLock
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := try(ctx, req)
			if group, ok := f.shared.Load(req.Key); ok && group == "" && errors.Is(err, stores.ErrRepeated) {
				return stores.Grant{}, nil
			}
			return g, err
		}
	},
}, {
	name: "remembers holders after their lease",
	rows: []string{"an owner acquires a declared lock again after it expired"},
	inject: func(f *faulty) {
		f.replaceTryLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if last, ok := f.shared.Load(req.Key); ok && last == req.Owner {
				return stores.Grant{}, fmt.Errorf("memory: try lock %q: %w", req.Key, stores.ErrRepeated)
			}
			g, err := f.Store.TryLock(ctx, req)
			if g.Acquired {
				f.shared.Store(req.Key, req.Owner)
			}
			return g, err
		})
	},
}, {
	name: "uses the declared TTL for requests without a group",
	rows: []string{"requests without a group treat a declared lock like any other"},
	inject: func(f *faulty) {
		changeRequests(func(req *stores.Request) {
			if l, ok := f.lookup(req.Key); ok && l.DeclaredTTL > 0 && req.Group == "" {
				req.TTL = l.DeclaredTTL
			}
		})(f)
	},
}, {
	name: "returns ErrRepeated to requests without a group",
	rows: []string{"requests without a group treat a declared lock like any other"},
	inject: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if l, ok := f.lookup(req.Key); ok && l.DeclaredTTL > 0 && l.Owner == req.Owner {
				return stores.Grant{}, fmt.Errorf("memory: try lock %q: %w", req.Key, stores.ErrRepeated)
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	name: "refuses declared locks in LockAll",
	rows: []string{"declared and other locks can be acquired together"},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			for _, key := range req.Keys {
				if _, declared := f.lookup(key); declared {
					return stores.Grant{}, ctx.Err()
				}
			}
			return f.Store.LockAll(ctx, req)
		}
	},
}}
