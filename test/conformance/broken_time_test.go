package conformance

import (
	"context"
	"errors"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

var brokenLeases = []broken{{
	name:   "never lets a lock expire",
	rows:   []string{"a lock lasts for its TTL", "an expired lock is free", "a TTL may be a millisecond"},
	inject: changeRequests(func(req *stores.Request) { req.TTL = stores.MaxTTL }),
}, {
	name: "lets locks expire a little early",
	rows: []string{"a lock lasts for its TTL", "the holder stops before the next owner starts"},
	inject: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			sent, asked := time.Now(), req.TTL
			req.TTL = max(req.TTL-2*time.Millisecond, stores.MinTTL)
			g, err := f.Store.TryLock(ctx, req)
			if g.Acquired {
				g.Expires = sent.Add(asked)
			}
			return g, err
		}
	},
}, {
	name:   "lets locks expire a little late",
	rows:   []string{"a lock lasts for its TTL"},
	inject: changeRequests(func(req *stores.Request) { req.TTL += time.Millisecond }),
}, {
	name: "uses the TTL of the last request for all locks",
	rows: []string{"each grant has its own TTL"},
	inject: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			locks, _ := f.Store.List(ctx, "")
			for _, l := range locks {
				_, _ = f.Store.Renew(ctx, stores.Request{Key: l.Key, Owner: l.Owner, TTL: req.TTL})
			}
			return g, err
		}
	},
}, {
	name:   "rounds TTLs down",
	rows:   []string{"a fractional TTL is rounded up"},
	inject: changeRequests(func(req *stores.Request) { req.TTL = max(req.TTL.Truncate(time.Millisecond), time.Millisecond) }),
}, {
	name: "treats less than a second as no limit",
	rows: []string{"a TTL may be a millisecond"},
	inject: changeRequests(func(req *stores.Request) {
		if req.TTL < time.Second {
			req.TTL = stores.MaxTTL
		}
	}),
}, {
	name: "counts milliseconds in 32 bits",
	rows: []string{"a TTL may be 68 years"},
	inject: changeRequests(func(req *stores.Request) {
		req.TTL = max(1, time.Duration(int32(req.TTL.Milliseconds()))*time.Millisecond)
	}),
}, {
	name: "keeps an expired lock for its last holder",
	rows: []string{"an expired lock is free", "unlock frees the lock"},
	inject: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if last, _ := f.shared.LoadOrStore(req.Key, req.Owner); last != req.Owner {
				return stores.Grant{}, nil
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	name: "lets owners unlock expired locks",
	rows: []string{"an expired lock cannot be released"},
	inject: func(f *faulty) {
		changeGrants(func(req stores.Request, _ *stores.Grant) { f.shared.Store(req.Key, req.Owner) })(f)
		f.unlock = func(ctx context.Context, key, owner string) error {
			err := f.Store.Unlock(ctx, key, owner)
			if errors.Is(err, stores.ErrNotHeld) && f.shared.CompareAndDelete(key, owner) {
				return nil
			}
			return err
		}
	},
}, {
	name: "unlocks by timers that it does not stop",
	rows: []string{"an old lease does not end a new one"},
	inject: func(f *faulty) {
		changeGrants(func(req stores.Request, _ *stores.Grant) {
			time.AfterFunc(req.TTL, func() { _ = f.Store.Unlock(context.Background(), req.Key, req.Owner) })
		})(f)
	},
}}

var brokenDeadlines = []broken{{
	name: "counts Expires from the response",
	rows: []string{"the holder stops before the next owner starts"},
	inject: changeGrants(func(req stores.Request, g *stores.Grant) {
		pause()
		g.Expires = time.Now().Add(req.TTL)
	}),
}, {
	name:   "returns Expires too late",
	rows:   []string{"the holder stops before the next owner starts"},
	inject: changeGrants(func(_ stores.Request, g *stores.Grant) { g.Expires = g.Expires.Add(time.Millisecond) }),
}, {
	name:   "returns Expires too early",
	rows:   []string{"the holder has most of its lease"},
	inject: changeGrants(func(_ stores.Request, g *stores.Grant) { g.Expires = time.Now() }),
}, {
	name:   "returns Expires without a monotonic reading",
	rows:   []string{"the deadline has a monotonic reading"},
	inject: changeGrants(func(_ stores.Request, g *stores.Grant) { g.Expires = g.Expires.Round(0) }),
}}

var brokenTokens = []broken{{
	name:   "has one token",
	rows:   []string{"tokens grow across unlock", "tokens grow in the order of the grants"},
	inject: changeGrants(func(_ stores.Request, g *stores.Grant) { g.Token = 1 }),
}, {
	name: "resets tokens in Unlock",
	rows: []string{"tokens grow across unlock"},
	inject: func(f *faulty) {
		f.countTokens(func(req stores.Request) string { return req.Key })
		f.unlock = func(ctx context.Context, key, owner string) error {
			f.shared.Delete(key)
			return f.Store.Unlock(ctx, key, owner)
		}
	},
}, {
	name:   "counts tokens for each owner",
	rows:   []string{"tokens grow across clients"},
	inject: func(f *faulty) { f.countTokens(func(req stores.Request) string { return req.Owner }) },
}, {
	name:   "counts tokens backwards",
	rows:   []string{"tokens grow across expiry"},
	inject: changeGrants(func(_ stores.Request, g *stores.Grant) { g.Token = 1<<63 - g.Token }),
}, {
	name: "resets the token at the end of the lease",
	rows: []string{"tokens grow after the lock was unused for a while"},
	inject: func(f *faulty) {
		f.countTokens(func(req stores.Request) string {
			time.AfterFunc(req.TTL, func() { f.shared.Delete(req.Key) })
			return req.Key
		})
	},
}}

// countTokens returns tokens from a counter, whose name may depend on the request.
func (f *faulty) countTokens(name func(req stores.Request) string) {
	changeGrants(func(req stores.Request, g *stores.Grant) {
		counter := name(req)
		last, _ := f.shared.LoadOrStore(counter, uint64(0))
		g.Token = last.(uint64) + 1
		f.shared.Store(counter, g.Token)
	})(f)
}
