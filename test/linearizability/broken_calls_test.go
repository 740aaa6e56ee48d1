package linearizability

import (
	"context"
	"errors"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

var brokenWaits = []broken{{
	does: "lets a canceled waiter hold the lock",
	install: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if err != nil {
				_, _ = f.Store.TryLock(context.WithoutCancel(ctx), req)
			}
			return g, err
		}
	},
}, {
	does: "leaves a canceled waiter in the queue",
	install: func(f *faulty) {
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
	does: "reports a grant to a waiter whose context ended",
	install: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if l, ok := f.current(req.Key); err != nil && ok {
				return stores.Grant{Acquired: true, Token: l.Token + 1, Expires: time.Now()}, nil
			}
			return g, err
		}
	},
}, {
	does: "starts the lease of a waiter when the wait starts",
	install: func(f *faulty) {
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
	does: "acquires several locks one after the other",
	install: func(f *faulty) {
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
	does: "acquires some of several locks",
	install: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			req.Keys = req.Keys[1:]
			return f.Store.LockAll(ctx, req)
		}
	},
}}

var brokenAnswers = []broken{{
	does: "sometimes refuses a free lock",
	install: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if f.everyNth(10) {
				return stores.Grant{}, nil
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	does: "reports success for the unlock of a free lock",
	install: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if err := f.Store.Unlock(ctx, key, owner); !errors.Is(err, stores.ErrNotHeld) {
				return err
			}
			return nil
		}
	},
}, {
	does: "returns ErrNotHeld for the lock of another owner",
	install: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if err := f.Store.Unlock(ctx, key, owner); !errors.Is(err, stores.ErrNotOwner) {
				return err
			}
			return stores.ErrNotHeld
		}
	},
}, {
	does: "sometimes drops an unlock",
	install: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if l, ok := f.current(key); ok && l.Owner == owner && f.everyNth(20) {
				return nil
			}
			return f.Store.Unlock(ctx, key, owner)
		}
	},
}, {
	does: "lists the locks as they were at the previous list",
	install: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			locks, err := f.Store.List(ctx, prefix)
			return swap(f.sharedState, "list of "+prefix, locks), err
		}
	},
}, {
	does: "keeps the lock of a call that failed forever",
	install: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if !g.Acquired || !f.everyNth(20) {
				return g, err
			}
			req.TTL = stores.MaxTTL
			_, _ = f.Store.Renew(ctx, req)
			return stores.Grant{}, errors.New("the reply was lost")
		}
	},
}}
