package conformance

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

var brokenRaces = []broken{{
	name: "checks the lock and acquires it in two steps",
	rows: []string{
		"one of many concurrent requests gets a free lock", "one of many concurrent requests gets an expired lock", "a lock never has two holders",
	},
	inject: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, held := f.lookup(req.Key); held {
				return stores.Grant{}, nil
			}
			pause()
			return f.forceLock(ctx, req)
		}
	},
}, {
	name: "checks the owner and unlocks in two steps",
	rows: []string{"one of many concurrent unlocks succeeds"},
	inject: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if f.holder(key) != owner {
				return f.Store.Unlock(ctx, key, owner)
			}
			pause()
			_ = f.Store.Unlock(ctx, key, owner)
			return nil
		}
	},
}, {
	name: "increments the token before it checks the lock",
	rows: []string{"tokens grow in the order of the grants"},
	inject: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			count, _ := f.shared.LoadOrStore("tokens", new(atomic.Uint64))
			token := count.(*atomic.Uint64).Add(1)
			time.Sleep(time.Duration(token%5) * time.Millisecond)
			g, err := f.Store.TryLock(ctx, req)
			if g.Acquired {
				g.Token = token
			}
			return g, err
		}
	},
}, {
	name: "loses an unlock during other calls",
	rows: []string{"no concurrent unlock is lost"},
	inject: func(f *faulty) {
		var busy atomic.Int64
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			busy.Add(1)
			defer busy.Add(-1)
			pause()
			return f.Store.TryLock(ctx, req)
		}
		f.unlock = func(ctx context.Context, key, owner string) error {
			if busy.Load() > 0 {
				return nil
			}
			return f.Store.Unlock(ctx, key, owner)
		}
	},
}, {
	name: "refuses requests during a call for another key",
	rows: []string{"concurrent calls for different keys are independent"},
	inject: func(f *faulty) {
		var busy atomic.Bool
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if busy.Swap(true) {
				return stores.Grant{}, nil
			}
			defer busy.Store(false)
			pause()
			return f.Store.TryLock(ctx, req)
		}
	},
}}
