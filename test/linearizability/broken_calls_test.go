package linearizability

import (
	"context"
	"errors"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

var brokenWaits = []broken{{
	what: "lets a cancelled waiter hold the lock",
	with: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if err != nil {
				_, _ = f.Store.TryLock(context.WithoutCancel(ctx), req)
			}
			return g, err
		}
	},
}, {
	what: "leaves a cancelled waiter in the queue",
	with: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 8*time.Millisecond)
			done := make(chan struct{})
			var g stores.Grant
			var err error
			go func() {
				defer cancel()
				defer close(done)
				g, err = f.Store.Lock(end, req)
			}()
			select {
			case <-done:
				return g, err
			case <-ctx.Done():
				return stores.Grant{}, ctx.Err()
			}
		}
	},
}, {
	what: "says that a waiter got the lock when its time is over",
	with: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if l, ok := f.seen(req.Key); err != nil && ok {
				return stores.Grant{Acquired: true, Token: l.Token + 1, Expires: time.Now()}, nil
			}
			return g, err
		}
	},
}, {
	what: "counts the lease of a waiter from when it began to wait",
	with: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			start := time.Now()
			g, err := f.Store.Lock(ctx, req)
			if waited := time.Since(start); g.Acquired && waited > 0 {
				renewal := req
				renewal.TTL = max(req.TTL-waited, stores.MinTTL)
				_, _ = f.Store.Renew(ctx, renewal)
			}
			return g, err
		}
	},
}, {
	what: "takes several locks one after the other",
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (g stores.Grant, err error) {
			if req.Wait {
				return f.Store.LockAll(ctx, req)
			}
			for i, key := range req.Keys {
				g, err = f.Store.TryLock(ctx, stores.Request{Key: key, Owner: req.Owner, TTL: req.TTL})
				if !g.Acquired {
					for _, taken := range req.Keys[:i] {
						_ = f.Store.Unlock(ctx, taken, req.Owner)
					}
					return stores.Grant{}, err
				}
				pause()
			}
			return g, err
		}
	},
}, {
	what: "takes some of several locks",
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			req.Keys = req.Keys[1:]
			return f.Store.LockAll(ctx, req)
		}
	},
}}

var brokenAnswers = []broken{{
	what: "refuses now and then a lock that is free",
	with: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if f.sometimes(10) {
				return stores.Grant{}, nil
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	what: "says yes to an unlock of what nobody holds",
	with: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if err := f.Store.Unlock(ctx, key, owner); !errors.Is(err, stores.ErrNotHeld) {
				return err
			}
			return nil
		}
	},
}, {
	what: "takes somebody else's lock for one that nobody holds",
	with: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if err := f.Store.Unlock(ctx, key, owner); !errors.Is(err, stores.ErrNotOwner) {
				return err
			}
			return stores.ErrNotHeld
		}
	},
}, {
	what: "drops an unlock now and then",
	with: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if l, ok := f.seen(key); ok && l.Owner == owner && f.sometimes(20) {
				return nil
			}
			return f.Store.Unlock(ctx, key, owner)
		}
	},
}, {
	what: "lists what was so a moment ago",
	with: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			locks, err := f.Store.List(ctx, prefix)
			return swap(f.notes, "list of "+prefix, locks), err
		}
	},
}, {
	what: "keeps for ever what a call that failed has taken",
	with: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if !g.Acquired || !f.sometimes(20) {
				return g, err
			}
			req.TTL = stores.MaxTTL
			_, _ = f.Store.Renew(ctx, req)
			return stores.Grant{}, errors.New("the answer was lost")
		}
	},
}}
