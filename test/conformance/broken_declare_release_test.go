package conformance

import (
	"context"
	"errors"
	"fmt"

	"github.com/mortise-lock/mortise/stores"
)

// brokenReleases break the rules about waits that Release ends.
var brokenReleases = []broken{{
	name: "ends no wait in Release",
	rows: []string{
		"Release ends the wait of its owner", "waiters behind a wait that Release ended move up",
		"Release ends the wait for a free lock", "a grant and the end of a wait by Release exclude each other",
	},
	inject: func(f *faulty) {
		f.release = func(ctx context.Context, key, owner string) error {
			switch f.holder(key) {
			case owner:
				return f.Store.Release(ctx, key, owner)
			case "":
				return fmt.Errorf("memory: release %q: %w", key, stores.ErrNotHeld)
			}
			return fmt.Errorf("memory: release %q: %w", key, stores.ErrNotOwner)
		}
	},
}, {
	name: "ends a wait in Release and returns ErrNotOwner",
	rows: []string{"Release ends the wait of its owner"},
	inject: func(f *faulty) {
		f.release = func(ctx context.Context, key, owner string) error {
			holder := f.holder(key)
			err := f.Store.Release(ctx, key, owner)
			if err == nil && holder != owner {
				return fmt.Errorf("memory: release %q: %w", key, stores.ErrNotOwner)
			}
			return err
		}
	},
}, {
	name: "returns context.Canceled from a wait that Release ends",
	rows: []string{"Release ends the wait of its owner"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if errors.Is(err, stores.ErrGaveUp) {
				return g, fmt.Errorf("memory: lock %q: %w", req.Key, context.Canceled)
			}
			return g, err
		})
	},
}, {
	name: "revokes the lock when Release ends a wait",
	rows: []string{"Release ends the wait of its owner"},
	inject: func(f *faulty) {
		f.release = func(ctx context.Context, key, owner string) error {
			holder := f.holder(key)
			err := f.Store.Release(ctx, key, owner)
			if err == nil && holder != owner {
				return f.Store.Revoke(ctx, key, holder)
			}
			return err
		}
	},
}, {
	name: "cancels all waiters when Release ends one wait",
	rows: []string{"waiters behind a wait that Release ended move up"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			f.shared.Store(req.Owner, req.Owner)
			return f.Store.Lock(ctx, req)
		})
		f.release = func(ctx context.Context, key, owner string) error {
			holder := f.holder(key)
			err := f.Store.Release(ctx, key, owner)
			for _, other := range f.shared.Range {
				if err == nil && holder != owner {
					_ = f.Store.Release(ctx, key, other.(string))
				}
			}
			return err
		}
	},
}, {
	name: "ends every wait in Release",
	rows: []string{"Release does not end a wait without a group"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			ctx, cancel := f.cancelSet().add(ctx, req.Key+req.Owner)
			defer cancel()
			return f.Store.Lock(ctx, req)
		}
		f.release = func(ctx context.Context, key, owner string) error {
			err := f.Store.Release(ctx, key, owner)
			if errors.Is(err, stores.ErrNotOwner) && f.cancelSet().cancelAll(key+owner) {
				return nil
			}
			return err
		}
	},
}, {
	name: "ends waits in Release only if the lock is held",
	rows: []string{"Release ends the wait for a free lock"},
	inject: func(f *faulty) {
		f.release = func(ctx context.Context, key, owner string) error {
			if f.holder(key) == "" {
				return fmt.Errorf("memory: release %q: %w", key, stores.ErrNotHeld)
			}
			return f.Store.Release(ctx, key, owner)
		}
	},
}, {
	name: "unlocks in Release whatever the owner",
	rows: []string{"Release releases the lock"},
	inject: func(f *faulty) {
		f.release = func(ctx context.Context, key, owner string) error {
			if holder := f.holder(key); holder != "" && holder != owner {
				return f.Store.Revoke(ctx, key, holder)
			}
			return f.Store.Release(ctx, key, owner)
		}
	},
}, {
	name:   "ends waits in Unlock",
	rows:   []string{"Unlock ends no wait"},
	inject: func(f *faulty) { f.unlock = f.Store.Release },
}, {
	name:   "waits again after Release has ended the wait",
	rows:   []string{"Release ends the wait of its owner", "a grant and the end of a wait by Release exclude each other"},
	inject: waitAgainAfter(stores.ErrGaveUp),
}}
