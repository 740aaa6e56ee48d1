package linearizability

import (
	"context"
	"errors"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

var brokenLeases = []broken{{
	does:    "never expires a lock",
	install: withLease(func(time.Duration) time.Duration { return stores.MaxTTL }),
}, {
	does:    "expires locks a nanosecond early",
	install: withLease(func(ttl time.Duration) time.Duration { return ttl - 1 }),
}, {
	does:    "expires locks a nanosecond late",
	subtle:  true,
	install: withLease(func(ttl time.Duration) time.Duration { return ttl + 1 }),
}, {
	does:    "expires locks late",
	install: withLease(func(ttl time.Duration) time.Duration { return ttl + 10*time.Millisecond }),
}, {
	does:    "returns Expires a nanosecond too late",
	install: withGrant(func(_ *faulty, _ stores.Request, g *stores.Grant) { g.Expires = g.Expires.Add(1) }),
}, {
	does: "ignores a renewal that shortens a lease",
	install: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			l, ok := f.current(req.Key)
			if !ok || l.Remaining < req.TTL || l.Owner != req.Owner {
				return f.Store.Renew(ctx, req)
			}
			return stores.Grant{Acquired: true, Token: l.Token, Expires: time.Now().Add(req.TTL)}, nil
		}
	},
}, {
	does: "reports a renewal that it did not make",
	install: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			l, ok := f.current(req.Key)
			if !ok || l.Owner != req.Owner {
				return f.Store.Renew(ctx, req)
			}
			return stores.Grant{Acquired: true, Token: l.Token, Expires: time.Now().Add(req.TTL)}, nil
		}
	},
}, {
	does: "acquires a lock that is no longer held when it is renewed",
	install: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Renew(ctx, req)
			if errors.Is(err, stores.ErrNotHeld) {
				if fresh, _ := f.Store.TryLock(ctx, req); fresh.Acquired {
					return fresh, nil
				}
			}
			return g, err
		}
	},
}}

var brokenOwners = []broken{{
	does: "sometimes grants a held lock",
	install: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if f.everyNth(40) {
				return f.forceTryLock(ctx, req)
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	does: "grants a held lock to its owner",
	install: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if l, ok := f.current(req.Key); ok && l.Owner == req.Owner {
				return stores.Grant{Acquired: true, Token: l.Token, Expires: time.Now()}, nil
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	does: "checks whether a lock is free and acquires it in two steps",
	install: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, held := f.current(req.Key); held {
				return stores.Grant{}, nil
			}
			pause()
			return f.forceTryLock(ctx, req)
		}
	},
}, {
	does:    "keeps the locks of each client separate",
	install: func(f *faulty) { f.Store = f.openSeparate() },
}, {
	does: "releases a lock for any caller",
	install: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, _ string) error { return f.Store.Revoke(ctx, key, "") }
	},
}, {
	does: "releases the lock of another owner and returns ErrNotOwner",
	install: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			err := f.Store.Unlock(ctx, key, owner)
			if errors.Is(err, stores.ErrNotOwner) {
				_ = f.Store.Revoke(ctx, key, "")
			}
			return err
		}
	},
}, {
	does: "checks the owner and releases the lock in two steps",
	install: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if l, ok := f.current(key); !ok || l.Owner != owner {
				return f.Store.Unlock(ctx, key, owner)
			}
			pause()
			_ = f.Store.Revoke(ctx, key, "")
			return nil
		}
	},
}, {
	does: "releases a lock a moment after Unlock returns",
	install: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			l, ok := f.current(key)
			if !ok || l.Owner != owner {
				return f.Store.Unlock(ctx, key, owner)
			}
			time.AfterFunc(time.Millisecond, func() { _ = f.Store.Unlock(context.Background(), key, owner) })
			return nil
		}
	},
}, {
	does: "revokes nothing",
	install: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			l, ok := f.current(key)
			switch {
			case !ok:
				return stores.ErrNotHeld
			case owner != "" && owner != l.Owner:
				return stores.ErrNotOwner
			}
			return nil
		}
	},
}, {
	does: "ignores the owner of a revocation",
	install: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, _ string) error { return f.Store.Revoke(ctx, key, "") }
	},
}}

var brokenTokens = []broken{{
	does: "sometimes returns the previous token",
	install: withGrant(func(f *faulty, req stores.Request, g *stores.Grant) {
		if last := swap(f.sharedState, req.Key, g.Token); last != 0 && f.everyNth(10) {
			g.Token = last
		}
	}),
}, {
	does: "counts tokens separately in each client",
	install: func(f *faulty) {
		var count uint64
		withGrant(func(f *faulty, _ stores.Request, g *stores.Grant) {
			f.mu.Lock()
			defer f.mu.Unlock()
			count++
			g.Token = count
		})(f)
	},
}, {
	does:    "returns no token",
	install: withGrant(func(_ *faulty, _ stores.Request, g *stores.Grant) { g.Token = 0 }),
}, {
	does: "returns a new token for a renewal",
	install: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Renew(ctx, req)
			g.Token++
			return g, err
		}
	},
}}
