package conformance

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// reservedRow is the row that stores without a check of reserved keys fail.
const reservedRow = "a reserved key is rejected"

var brokenReserved = []broken{{
	name: "validates nothing",
	rows: []string{reservedRow, "several keys with a reserved one are rejected"},
}, {
	name:   "acquires reserved keys",
	rows:   []string{reservedRow},
	inject: checkedExcept(func(f *faulty) { f.tryLock = nil }),
}, {
	name:   "unlocks reserved keys",
	rows:   []string{reservedRow},
	inject: checkedExcept(func(f *faulty) { f.unlock = nil }),
}, {
	name:   "revokes reserved keys",
	rows:   []string{reservedRow},
	inject: checkedExcept(func(f *faulty) { f.revoke = nil }),
}, {
	name:   "renews reserved keys",
	rows:   []string{reservedRow},
	inject: checkedExcept(func(f *faulty) { f.renew = nil }),
}, {
	name:   "waits for reserved keys",
	rows:   []string{reservedRow},
	inject: checkedExcept(func(f *faulty) { f.lock = nil }),
}, {
	name:   "declares reserved keys",
	rows:   []string{reservedRow},
	inject: checkedExcept(func(f *faulty) { f.declare = nil }),
}, {
	name: "validates only the first of several keys",
	rows: []string{"several keys with a reserved one are rejected"},
	inject: checkedExcept(func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			if err := stores.ValidateKey(req.Keys[0], req.Owner); err != nil {
				return stores.Grant{}, err
			}
			return f.Store.LockAll(ctx, req)
		}
	}),
}, {
	name: "acquires the keys before a reserved one",
	rows: []string{"several keys with a reserved one are rejected"},
	inject: checkedExcept(func(f *faulty) {
		check := f.lockAll
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			g, err := check(ctx, req)
			if err != nil {
				_, _ = f.Store.TryLock(ctx, stores.Request{Key: req.Keys[0], Owner: req.Owner, TTL: req.TTL})
			}
			return g, err
		}
	}),
}, {
	name: "lists reserved keys",
	rows: []string{"a list has no reserved keys"},
	inject: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			locks, err := f.Store.List(ctx, "")
			for _, l := range locks {
				locks = append(locks, stores.LockInfo{Key: stores.ReservedPrefix + l.Key})
			}
			return filter(locks, func(l stores.LockInfo) bool { return strings.HasPrefix(l.Key, prefix) }), err
		}
	},
}, {
	name: "rejects reserved prefixes",
	rows: []string{
		"a list has no reserved keys", "a snapshot has no reserved keys",
	},
	inject: func(f *faulty) {
		f.list = func(context.Context, string) ([]stores.LockInfo, error) {
			return nil, errors.New("prefix must not be reserved")
		}
		f.watch = func(context.Context, string, func(stores.Event) error) error {
			return errors.New("prefix must not be reserved")
		}
	},
}, {
	name: "has reserved keys in snapshots",
	rows: []string{"a snapshot has no reserved keys"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				e.Locks = append(e.Locks, stores.LockInfo{Key: stores.ReservedPrefix + "token"})
				return notify(e)
			})
		}
	},
}}

// checkedExcept breaks a store with validated arguments.
func checkedExcept(spoil func(*faulty)) func(*faulty) {
	return func(f *faulty) {
		checked(f)
		spoil(f)
	}
}

// checked validates the arguments of all calls as APIs do.
func checked(f *faulty) {
	f.tryLock = validating(stores.Request.Validate, f.Store.TryLock)
	f.renew = validating(func(req stores.Request) error { return stores.ValidateKey(req.Key, req.Owner) }, f.Store.Renew)
	f.lock = validating(stores.Request.Validate, f.Store.Lock)
	f.lockAll = validating(stores.MultiRequest.Validate, f.Store.LockAll)
	f.unlock = func(ctx context.Context, key, owner string) error {
		if err := stores.ValidateKey(key, owner); err != nil {
			return err
		}
		return f.Store.Unlock(ctx, key, owner)
	}
	f.revoke = func(ctx context.Context, key, owner string) error {
		if err := stores.ValidateKey(key, cmp.Or(owner, "anybody")); err != nil {
			return err
		}
		return f.Store.Revoke(ctx, key, owner)
	}
	f.declare = func(ctx context.Context, d stores.Declaration) error {
		if err := d.Validate(); err != nil {
			return err
		}
		return f.Store.Declare(ctx, d)
	}
}

// validating makes a call only if its arguments are valid.
func validating[Request any](
	validate func(Request) error, call func(context.Context, Request) (stores.Grant, error),
) func(context.Context, Request) (stores.Grant, error) {
	return func(ctx context.Context, req Request) (stores.Grant, error) {
		if err := validate(req); err != nil {
			return stores.Grant{}, err
		}
		return call(ctx, req)
	}
}
