package linearizability

import (
	"context"
	"errors"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

var brokenLeases = []broken{{
	what: "never lets a lock expire",
	with: lets(func(time.Duration) time.Duration { return stores.MaxTTL }),
}, {
	what: "lets locks expire a nanosecond early",
	with: lets(func(ttl time.Duration) time.Duration { return ttl - 1 }),
}, {
	what:  "lets locks expire a nanosecond late",
	finer: true,
	with:  lets(func(ttl time.Duration) time.Duration { return ttl + 1 }),
}, {
	what: "lets locks expire late",
	with: lets(func(ttl time.Duration) time.Duration { return ttl + 10*time.Millisecond }),
}, {
	what: "tells Expires a nanosecond too late",
	with: answers(func(_ *faulty, _ stores.Request, g *stores.Grant) { g.Expires = g.Expires.Add(1) }),
}, {
	what: "lets a renewal only lengthen a lease",
	with: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			l, ok := f.seen(req.Key)
			if !ok || l.Remaining < req.TTL || l.Owner != req.Owner {
				return f.Store.Renew(ctx, req)
			}
			return stores.Grant{Acquired: true, Token: l.Token, Expires: time.Now().Add(req.TTL)}, nil
		}
	},
}, {
	what: "says that it renewed and did not",
	with: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			l, ok := f.seen(req.Key)
			if !ok || l.Owner != req.Owner {
				return f.Store.Renew(ctx, req)
			}
			return stores.Grant{Acquired: true, Token: l.Token, Expires: time.Now().Add(req.TTL)}, nil
		}
	},
}, {
	what: "takes a lock that is gone again when it is renewed",
	with: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Renew(ctx, req)
			if errors.Is(err, stores.ErrNotHeld) {
				if again, _ := f.Store.TryLock(ctx, req); again.Acquired {
					return again, nil
				}
			}
			return g, err
		}
	},
}}

var brokenOwners = []broken{{
	what: "grants a lock twice now and then",
	with: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if f.sometimes(40) {
				return f.seize(ctx, req)
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	what: "lets the present owner in twice",
	with: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if l, ok := f.seen(req.Key); ok && l.Owner == req.Owner {
				return stores.Grant{Acquired: true, Token: l.Token, Expires: time.Now()}, nil
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	what: "looks whether a lock is free and takes it in two steps",
	with: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, held := f.seen(req.Key); held {
				return stores.Grant{}, nil
			}
			pause()
			return f.seize(ctx, req)
		}
	},
}, {
	what: "keeps the locks of each client apart",
	with: func(f *faulty) { f.Store = f.another() },
}, {
	what: "frees a lock for whoever asks",
	with: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, _ string) error { return f.Store.Revoke(ctx, key, "") }
	},
}, {
	what: "frees somebody else's lock and says that it did not",
	with: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			err := f.Store.Unlock(ctx, key, owner)
			if errors.Is(err, stores.ErrNotOwner) {
				_ = f.Store.Revoke(ctx, key, "")
			}
			return err
		}
	},
}, {
	what: "looks who the owner is and frees the lock in two steps",
	with: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if l, ok := f.seen(key); !ok || l.Owner != owner {
				return f.Store.Unlock(ctx, key, owner)
			}
			pause()
			_ = f.Store.Revoke(ctx, key, "")
			return nil
		}
	},
}, {
	what: "frees a lock a moment after it said so",
	with: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			l, ok := f.seen(key)
			if !ok || l.Owner != owner {
				return f.Store.Unlock(ctx, key, owner)
			}
			time.AfterFunc(time.Millisecond, func() { _ = f.Store.Unlock(context.Background(), key, owner) })
			return nil
		}
	},
}, {
	what: "revokes nothing",
	with: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, owner string) error {
			l, ok := f.seen(key)
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
	what: "revokes from whoever holds a lock, whatever the name",
	with: func(f *faulty) {
		f.revoke = func(ctx context.Context, key, _ string) error { return f.Store.Revoke(ctx, key, "") }
	},
}}

var brokenTokens = []broken{{
	what: "gives a token again",
	with: answers(func(f *faulty, req stores.Request, g *stores.Grant) {
		if last := swap(f.notes, req.Key, g.Token); last != 0 && f.sometimes(10) {
			g.Token = last
		}
	}),
}, {
	what: "counts tokens in each client",
	with: func(f *faulty) {
		var count uint64
		answers(func(f *faulty, _ stores.Request, g *stores.Grant) {
			f.mu.Lock()
			defer f.mu.Unlock()
			count++
			g.Token = count
		})(f)
	},
}, {
	what: "gives no token",
	with: answers(func(_ *faulty, _ stores.Request, g *stores.Grant) { g.Token = 0 }),
}, {
	what: "gives a renewal a token of its own",
	with: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Renew(ctx, req)
			g.Token++
			return g, err
		}
	},
}}
