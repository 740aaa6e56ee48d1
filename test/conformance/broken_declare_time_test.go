package conformance

import (
	"context"
	"fmt"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// brokenMemberTimes are stores that let a declared lock last or end in the wrong way.
var brokenMemberTimes = []broken{{
	what:   "lets a declared lock last for a minute",
	caught: []string{"a declared lock lasts for its declared TTL", "a declared lock is renewed like any other"},
	with: answeredAs(func(f *faulty, req stores.Request, _ *stores.Grant) {
		_, _ = f.Store.Renew(context.Background(), ungrouped(req))
	}),
}, {
	what: "lets a declared lock last for half of its TTL",
	caught: []string{
		"a declared lock lasts for its declared TTL", "the holder of a declared lock stops before the next owner starts",
	},
	with: answeredAs(func(f *faulty, req stores.Request, _ *stores.Grant) {
		l, _ := f.lock(req.Key)
		req.Group, req.TTL = "", l.DeclaredTTL/2
		_, _ = f.Store.Renew(context.Background(), req)
	}),
}, {
	what:   "declares for an hour at the most",
	caught: []string{"a declared TTL may be a millisecond or 68 years"},
	with:   declarations(func(d *stores.Declaration) { d.TTL = min(d.TTL, time.Hour) }),
}, {
	what:   "declares for a second at the least",
	caught: []string{"a declared TTL may be a millisecond or 68 years"},
	with:   declarations(func(d *stores.Declaration) { d.TTL = max(d.TTL, time.Second) }),
}, {
	what:   "renews for a group only what is declared in it",
	caught: []string{"a renewal ignores the group"},
	with: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if l, _ := f.lock(req.Key); req.Group != "" && l.DeclaredTTL == 0 {
				return stores.Grant{}, fmt.Errorf("memory: renew %q: %w", req.Key, stores.ErrNotDeclared)
			}
			return f.Store.Renew(ctx, req)
		}
	},
}, {
	what:   "counts Expires of a declared lock from the answer",
	caught: []string{"the holder of a declared lock stops before the next owner starts"},
	with: answeredAs(func(f *faulty, req stores.Request, g *stores.Grant) {
		pause()
		l, _ := f.lock(req.Key)
		g.Expires = time.Now().Add(l.DeclaredTTL)
	}),
}, {
	what:   "counts Expires of a declared lock by the TTL of the request",
	caught: []string{"the holder of a declared lock has most of its lease"},
	with:   answeredAs(func(_ *faulty, _ stores.Request, g *stores.Grant) { g.Expires = time.Now() }),
}, {
	what:   "tells the TTL of the declaration to whoever takes the lock",
	caught: []string{"a grant of a declared lock reports its TTL"},
	with: func(f *faulty) {
		answers(func(req stores.Request, g *stores.Grant) {
			if l, ok := f.lock(req.Key); ok && l.DeclaredTTL > 0 {
				g.TTL = l.DeclaredTTL
			}
		})(f)
	},
}, {
	what:   "tells Expires of a declared lock by the wall clock",
	caught: []string{"the deadline of a declared lock has a monotonic reading"},
	with:   answeredAs(func(_ *faulty, _ stores.Request, g *stores.Grant) { g.Expires = g.Expires.Round(0) }),
}, {
	what:   "renews a declared lock for the TTL of the declaration",
	caught: []string{"a declared lock is renewed like any other"},
	with:   renewsFor(func(_ stores.Request, l stores.LockInfo) time.Duration { return l.DeclaredTTL }),
}, {
	what:   "declares a lock anew when it is renewed",
	caught: []string{"a declared lock is renewed like any other"},
	with: func(f *faulty) {
		renewals(func(req stores.Request, _ *stores.Grant) { f.notes.Store(req.Key, req.TTL) })(f)
		redraws(func(l *stores.LockInfo) {
			if ttl, ok := f.notes.Load(l.Key); ok {
				l.DeclaredTTL = ttl.(time.Duration)
			}
		})(f)
	},
}, {
	what:   "withdraws what it revokes",
	caught: []string{"a declared lock is revoked like any other"},
	with: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			err := f.Store.Revoke(ctx, key, owner)
			if err == nil {
				_ = f.Store.Withdraw(ctx, groupIn(key), key)
			}
			return err
		}
	},
}, {
	what:   "finds something to revoke in a free lock",
	caught: []string{"a declared lock is revoked like any other"},
	with: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			err := f.Store.Revoke(ctx, key, owner)
			if l, ok := f.lock(key); ok && l.Owner == "" {
				return nil
			}
			return err
		}
	},
}}

// answeredAs changes each grant of a TryLock with a group.
func answeredAs(change func(f *faulty, req stores.Request, g *stores.Grant)) func(*faulty) {
	return func(f *faulty) {
		answers(func(req stores.Request, g *stores.Grant) {
			if req.Group != "" {
				change(f, req, g)
			}
		})(f)
	}
}
