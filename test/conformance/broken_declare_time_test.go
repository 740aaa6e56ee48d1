package conformance

import (
	"context"
	"fmt"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// brokenMemberTimes break the rules about the TTL of declared locks.
var brokenMemberTimes = []broken{{
	name: "makes every declared lock last for a minute",
	rows: []string{"a declared lock lasts for its declared TTL", "a declared lock is renewed like any other"},
	inject: changeMemberGrants(func(f *faulty, req stores.Request, _ *stores.Grant) {
		_, _ = f.Store.Renew(context.Background(), withoutGroup(req))
	}),
}, {
	name: "makes a declared lock last for half of its TTL",
	rows: []string{
		"a declared lock lasts for its declared TTL", "the holder of a declared lock stops before the next owner starts",
	},
	inject: changeMemberGrants(func(f *faulty, req stores.Request, _ *stores.Grant) {
		l, _ := f.lookup(req.Key)
		req.Group, req.TTL = "", l.DeclaredTTL/2
		_, _ = f.Store.Renew(context.Background(), req)
	}),
}, {
	name:   "declares for at most an hour",
	rows:   []string{"a declared TTL may be a millisecond or 68 years"},
	inject: changeDeclarations(func(d *stores.Declaration) { d.TTL = min(d.TTL, time.Hour) }),
}, {
	name:   "declares for at least a second",
	rows:   []string{"a declared TTL may be a millisecond or 68 years"},
	inject: changeDeclarations(func(d *stores.Declaration) { d.TTL = max(d.TTL, time.Second) }),
}, {
	name: "renews with a group only declared locks",
	rows: []string{"a renewal ignores the group"},
	inject: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if l, _ := f.lookup(req.Key); req.Group != "" && l.DeclaredTTL == 0 {
				return stores.Grant{}, fmt.Errorf("memory: renew %q: %w", req.Key, stores.ErrNotDeclared)
			}
			return f.Store.Renew(ctx, req)
		}
	},
}, {
	name: "counts Expires of a declared lock from the response",
	rows: []string{"the holder of a declared lock stops before the next owner starts"},
	inject: changeMemberGrants(func(f *faulty, req stores.Request, g *stores.Grant) {
		pause()
		l, _ := f.lookup(req.Key)
		g.Expires = time.Now().Add(l.DeclaredTTL)
	}),
}, {
	name:   "counts Expires of a declared lock with the TTL of the request",
	rows:   []string{"the holder of a declared lock has most of its lease"},
	inject: changeMemberGrants(func(_ *faulty, _ stores.Request, g *stores.Grant) { g.Expires = time.Now() }),
}, {
	name: "returns the declared TTL to every holder",
	rows: []string{"a grant of a declared lock reports its TTL"},
	inject: func(f *faulty) {
		changeGrants(func(req stores.Request, g *stores.Grant) {
			if l, ok := f.lookup(req.Key); ok && l.DeclaredTTL > 0 {
				g.TTL = l.DeclaredTTL
			}
		})(f)
	},
}, {
	name:   "returns Expires of a declared lock without a monotonic reading",
	rows:   []string{"the deadline of a declared lock has a monotonic reading"},
	inject: changeMemberGrants(func(_ *faulty, _ stores.Request, g *stores.Grant) { g.Expires = g.Expires.Round(0) }),
}, {
	name:   "renews a declared lock for its declared TTL",
	rows:   []string{"a declared lock is renewed like any other"},
	inject: renewForTTL(func(_ stores.Request, l stores.LockInfo) time.Duration { return l.DeclaredTTL }),
}, {
	name: "declares a lock again in Renew",
	rows: []string{"a declared lock is renewed like any other"},
	inject: func(f *faulty) {
		changeRenewals(func(req stores.Request, _ *stores.Grant) { f.shared.Store(req.Key, req.TTL) })(f)
		changeLockInfos(func(l *stores.LockInfo) {
			if ttl, ok := f.shared.Load(l.Key); ok {
				l.DeclaredTTL = ttl.(time.Duration)
			}
		})(f)
	},
}, {
	name: "withdraws locks in Revoke",
	rows: []string{"a declared lock is revoked like any other"},
	inject: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			err := f.Store.Revoke(ctx, key, owner)
			if err == nil {
				_ = f.Store.Withdraw(ctx, groupOfKey(key), key)
			}
			return err
		}
	},
}, {
	name: "revokes free declared locks",
	rows: []string{"a declared lock is revoked like any other"},
	inject: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			err := f.Store.Revoke(ctx, key, owner)
			if l, ok := f.lookup(key); ok && l.Owner == "" {
				return nil
			}
			return err
		}
	},
}}

// changeMemberGrants changes each grant of a TryLock with a group.
func changeMemberGrants(change func(f *faulty, req stores.Request, g *stores.Grant)) func(*faulty) {
	return func(f *faulty) {
		changeGrants(func(req stores.Request, g *stores.Grant) {
			if req.Group != "" {
				change(f, req, g)
			}
		})(f)
	}
}
