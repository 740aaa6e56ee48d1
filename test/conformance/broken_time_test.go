package conformance

import (
	"context"
	"errors"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

var brokenLeases = []broken{{
	what:   "never lets a lock expire",
	caught: []string{"a lock lasts for its TTL", "an expired lock is free", "a TTL may be a millisecond"},
	with:   asks(func(req *stores.Request) { req.TTL = stores.MaxTTL }),
}, {
	what:   "lets locks expire a little early",
	caught: []string{"a lock lasts for its TTL", "the holder stops before the next owner starts"},
	with: func(f *faulty) {
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
	what:   "lets locks expire a little late",
	caught: []string{"a lock lasts for its TTL"},
	with:   asks(func(req *stores.Request) { req.TTL += time.Millisecond }),
}, {
	what:   "has one TTL, that of the last request",
	caught: []string{"each grant has its own TTL"},
	with: func(f *faulty) {
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
	what:   "rounds TTLs down",
	caught: []string{"a fractional TTL is rounded up"},
	with:   asks(func(req *stores.Request) { req.TTL = max(req.TTL.Truncate(time.Millisecond), time.Millisecond) }),
}, {
	what:   "takes less than a second for no limit",
	caught: []string{"a TTL may be a millisecond"},
	with: asks(func(req *stores.Request) {
		if req.TTL < time.Second {
			req.TTL = stores.MaxTTL
		}
	}),
}, {
	what:   "counts milliseconds in 32 bits",
	caught: []string{"a TTL may be 68 years"},
	with: asks(func(req *stores.Request) {
		req.TTL = max(1, time.Duration(int32(req.TTL.Milliseconds()))*time.Millisecond)
	}),
}, {
	what:   "keeps a lock for who held it last",
	caught: []string{"an expired lock is free", "unlock frees the lock"},
	with: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if last, _ := f.notes.LoadOrStore(req.Key, req.Owner); last != req.Owner {
				return stores.Grant{}, nil
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	what:   "lets owners give back what has expired",
	caught: []string{"an expired lock cannot be released"},
	with: func(f *faulty) {
		answers(func(req stores.Request, _ *stores.Grant) { f.notes.Store(req.Key, req.Owner) })(f)
		f.unlock = func(ctx context.Context, key, owner string) error {
			err := f.Store.Unlock(ctx, key, owner)
			if errors.Is(err, stores.ErrNotHeld) && f.notes.CompareAndDelete(key, owner) {
				return nil
			}
			return err
		}
	},
}, {
	what:   "unlocks by timers that it forgets to stop",
	caught: []string{"an old lease does not end a new one"},
	with: func(f *faulty) {
		answers(func(req stores.Request, _ *stores.Grant) {
			time.AfterFunc(req.TTL, func() { _ = f.Store.Unlock(context.Background(), req.Key, req.Owner) })
		})(f)
	},
}}

var brokenDeadlines = []broken{{
	what:   "counts Expires from the answer",
	caught: []string{"the holder stops before the next owner starts"},
	with: answers(func(req stores.Request, g *stores.Grant) {
		pause()
		g.Expires = time.Now().Add(req.TTL)
	}),
}, {
	what:   "tells Expires too late",
	caught: []string{"the holder stops before the next owner starts"},
	with:   answers(func(_ stores.Request, g *stores.Grant) { g.Expires = g.Expires.Add(time.Millisecond) }),
}, {
	what:   "tells the holder to stop at once",
	caught: []string{"the holder has most of its lease"},
	with:   answers(func(_ stores.Request, g *stores.Grant) { g.Expires = time.Now() }),
}, {
	what:   "tells Expires by the wall clock",
	caught: []string{"the deadline has a monotonic reading"},
	with:   answers(func(_ stores.Request, g *stores.Grant) { g.Expires = g.Expires.Round(0) }),
}}

var brokenTokens = []broken{{
	what:   "has one token",
	caught: []string{"tokens grow across unlock", "tokens grow in the order of the grants"},
	with:   answers(func(_ stores.Request, g *stores.Grant) { g.Token = 1 }),
}, {
	what:   "starts tokens again after an unlock",
	caught: []string{"tokens grow across unlock"},
	with: func(f *faulty) {
		f.counts(func(req stores.Request) string { return req.Key })
		f.unlock = func(ctx context.Context, key, owner string) error {
			f.notes.Delete(key)
			return f.Store.Unlock(ctx, key, owner)
		}
	},
}, {
	what:   "counts tokens for each owner",
	caught: []string{"tokens grow across clients"},
	with:   func(f *faulty) { f.counts(func(req stores.Request) string { return req.Owner }) },
}, {
	what:   "counts tokens backwards",
	caught: []string{"tokens grow across expiry"},
	with:   answers(func(_ stores.Request, g *stores.Grant) { g.Token = 1<<63 - g.Token }),
}, {
	what:   "forgets the token with the lease",
	caught: []string{"tokens grow after the lock was unused for a while"},
	with: func(f *faulty) {
		f.counts(func(req stores.Request) string {
			time.AfterFunc(req.TTL, func() { f.notes.Delete(req.Key) })
			return req.Key
		})
	},
}}

// counts gives tokens from counters in the notes, by a name that it finds for each grant.
func (f *faulty) counts(name func(req stores.Request) string) {
	answers(func(req stores.Request, g *stores.Grant) {
		counter := name(req)
		last, _ := f.notes.LoadOrStore(counter, uint64(0))
		g.Token = last.(uint64) + 1
		f.notes.Store(counter, g.Token)
	})(f)
}
