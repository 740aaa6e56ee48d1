package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/mortise-lock/mortise/stores"
)

var brokenRevokes = []broken{{
	name:   "does not revoke",
	rows:   []string{"a lock is revoked from the named owner"},
	inject: func(f *faulty) { f.revoke = func(ctx context.Context, _, _ string) error { return ctx.Err() } },
}, {
	name: "does not treat the empty owner as any holder",
	rows: []string{"a lock is revoked from any holder"},
	inject: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			if owner == "" {
				return fmt.Errorf("memory: revoke %q: %w", key, stores.ErrNotOwner)
			}
			return f.Store.Revoke(ctx, key, owner)
		}
	},
}, {
	name: "revokes all locks of an owner",
	rows: []string{"a revocation affects one lock"},
	inject: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			err := f.Store.Revoke(ctx, key, owner)
			locks, _ := f.Store.List(ctx, "")
			for _, l := range locks {
				_ = f.Store.Revoke(ctx, l.Key, owner)
			}
			return err
		}
	},
}, {
	name: "renews revoked locks",
	rows: []string{"a revoked lock cannot be renewed"},
	inject: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if g, err := f.Store.Renew(ctx, req); !errors.Is(err, stores.ErrNotHeld) {
				return g, err
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	name: "lets a former owner unlock after a revocation",
	rows: []string{"a former owner cannot release its successor's lock after a revocation"},
	inject: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			f.shared.Store(key, true)
			return f.Store.Revoke(ctx, key, owner)
		}
		f.unlock = func(ctx context.Context, key, owner string) error {
			if _, revoked := f.shared.Load(key); revoked {
				owner = f.holder(key)
			}
			return f.Store.Unlock(ctx, key, owner)
		}
	},
}, {
	name: "resets the token in Revoke",
	rows: []string{"tokens grow across a revocation"},
	inject: func(f *faulty) {
		f.countTokens(func(req stores.Request) string { return req.Key })
		f.revoke = func(ctx context.Context, key, owner string) error {
			f.shared.Delete(key)
			return f.Store.Revoke(ctx, key, owner)
		}
	},
}, {
	name: "does not notify waiters in Revoke",
	rows: []string{"a waiter gets a lock that is revoked"},
	inject: func(f *faulty) {
		f.queueLocks(fifo)
		f.revoke = nil
	},
}, {
	name: "revokes free locks",
	rows: []string{"a free lock cannot be revoked", "one of many concurrent revocations succeeds", "an expired lock cannot be revoked"},
	inject: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			if err := f.Store.Revoke(ctx, key, owner); !errors.Is(err, stores.ErrNotHeld) {
				return err
			}
			return nil
		}
	},
}, {
	name: "checks the owner and revokes in two steps",
	rows: []string{"one of many concurrent revocations succeeds"},
	inject: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			if f.holder(key) == "" {
				return f.Store.Revoke(ctx, key, owner)
			}
			pause()
			_ = f.Store.Revoke(ctx, key, owner)
			return nil
		}
	},
}, {
	name: "revokes expired locks",
	rows: []string{"an expired lock cannot be revoked"},
	inject: func(f *faulty) {
		var taken sync.Map
		changeGrants(func(req stores.Request, _ *stores.Grant) { taken.Store(req.Key, req.Owner) })(f)
		f.revoke = func(ctx context.Context, key, owner string) error {
			err := f.Store.Revoke(ctx, key, owner)
			if _, ok := taken.LoadAndDelete(key); ok && errors.Is(err, stores.ErrNotHeld) {
				return nil
			}
			return err
		}
	},
}, {
	name: "revokes from any holder",
	rows: []string{"a lock is not revoked from another owner than its holder"},
	inject: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, _ string) error { return f.Store.Revoke(ctx, key, "") }
	},
}, {
	name: "revokes before it checks the owner",
	rows: []string{"a lock is not revoked from another owner than its holder"},
	inject: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			holder := f.holder(key)
			if err := f.Store.Revoke(ctx, key, ""); err != nil || owner == "" || owner == holder {
				return err
			}
			return fmt.Errorf("memory: revoke %q: %w", key, stores.ErrNotOwner)
		}
	},
}, {
	name: "revokes after ctx has ended",
	rows: []string{"a Revoke whose ctx has ended changes nothing"},
	inject: func(f *faulty) {
		f.revoke = func(_ context.Context, key, owner string) error {
			return f.Store.Revoke(context.Background(), key, owner)
		}
	},
}}
