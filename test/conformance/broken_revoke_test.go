package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/mortise-lock/mortise/stores"
)

var brokenRevokes = []broken{{
	what:   "does not revoke",
	caught: []string{"a lock is revoked from the named owner"},
	with:   func(f *faulty) { f.revoke = func(ctx context.Context, _, _ string) error { return ctx.Err() } },
}, {
	what:   "takes nobody's name for somebody's",
	caught: []string{"a lock is revoked from any holder"},
	with: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			if owner == "" {
				return fmt.Errorf("memory: revoke %q: %w", key, stores.ErrNotOwner)
			}
			return f.Store.Revoke(ctx, key, owner)
		}
	},
}, {
	what:   "revokes all locks of an owner",
	caught: []string{"a revocation affects one lock"},
	with: func(f *faulty) {
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
	what:   "renews what was revoked",
	caught: []string{"a revoked lock cannot be renewed"},
	with: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if g, err := f.Store.Renew(ctx, req); !errors.Is(err, stores.ErrNotHeld) {
				return g, err
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	what:   "lets whose lock was revoked give back another's",
	caught: []string{"a former owner cannot release its successor's lock after a revocation"},
	with: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			f.notes.Store(key, true)
			return f.Store.Revoke(ctx, key, owner)
		}
		f.unlock = func(ctx context.Context, key, owner string) error {
			if _, revoked := f.notes.Load(key); revoked {
				owner = f.holder(key)
			}
			return f.Store.Unlock(ctx, key, owner)
		}
	},
}, {
	what:   "forgets the token with a revocation",
	caught: []string{"tokens grow across a revocation"},
	with: func(f *faulty) {
		f.counts(func(req stores.Request) string { return req.Key })
		f.revoke = func(ctx context.Context, key, owner string) error {
			f.notes.Delete(key)
			return f.Store.Revoke(ctx, key, owner)
		}
	},
}, {
	what:   "wakes nobody when it revokes",
	caught: []string{"a waiter gets a lock that is revoked"},
	with: func(f *faulty) {
		f.lineUp(inOrder)
		f.revoke = nil
	},
}, {
	what:   "is content when there is nothing to revoke",
	caught: []string{"a free lock cannot be revoked", "one of many concurrent revocations succeeds", "an expired lock cannot be revoked"},
	with: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			if err := f.Store.Revoke(ctx, key, owner); !errors.Is(err, stores.ErrNotHeld) {
				return err
			}
			return nil
		}
	},
}, {
	what:   "looks who the owner is and revokes in two steps",
	caught: []string{"one of many concurrent revocations succeeds"},
	with: func(f *faulty) {
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
	what:   "revokes what has expired",
	caught: []string{"an expired lock cannot be revoked"},
	with: func(f *faulty) {
		var taken sync.Map
		answers(func(req stores.Request, _ *stores.Grant) { taken.Store(req.Key, req.Owner) })(f)
		f.revoke = func(ctx context.Context, key, owner string) error {
			err := f.Store.Revoke(ctx, key, owner)
			if _, ok := taken.LoadAndDelete(key); ok && errors.Is(err, stores.ErrNotHeld) {
				return nil
			}
			return err
		}
	},
}, {
	what:   "revokes from whoever holds the lock, whoever is named",
	caught: []string{"a lock is not revoked from another owner than its holder"},
	with: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, _ string) error { return f.Store.Revoke(ctx, key, "") }
	},
}, {
	what:   "revokes before it looks at the owner",
	caught: []string{"a lock is not revoked from another owner than its holder"},
	with: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			holder := f.holder(key)
			if err := f.Store.Revoke(ctx, key, ""); err != nil || owner == "" || owner == holder {
				return err
			}
			return fmt.Errorf("memory: revoke %q: %w", key, stores.ErrNotOwner)
		}
	},
}, {
	what:   "revokes whether or not ctx has ended",
	caught: []string{"a Revoke whose ctx has ended changes nothing"},
	with: func(f *faulty) {
		f.revoke = func(_ context.Context, key, owner string) error {
			return f.Store.Revoke(context.Background(), key, owner)
		}
	},
}}
