package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// brokenMemberWaits break the rules about waiting for declared locks.
var brokenMemberWaits = []broken{{
	name: "polls declared locks once a second",
	rows: []string{
		"a waiting request gets a free declared lock at once", "a waiter gets a declared lock when it is released",
		"a waiter gets a declared lock when it expires", "a waiter gets a declared lock when it is revoked",
	},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			start := time.Now()
			g, err := f.Store.Lock(ctx, req)
			time.Sleep(time.Second - time.Since(start)%time.Second)
			return g, err
		})
	},
}, {
	name: "waits until a lock is declared",
	rows: []string{"a waiting request for a lock that is not declared fails"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			for {
				g, err := f.Store.Lock(ctx, req)
				if !errors.Is(err, stores.ErrNotDeclared) || ctx.Err() != nil {
					return g, err
				}
				pause()
			}
		})
	},
}, {
	name: "waits for held locks that are not declared",
	rows: []string{"a waiting request for a lock that is not declared fails"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if l, ok := f.lookup(req.Key); ok && l.DeclaredTTL == 0 {
				req = withoutGroup(req)
			}
			return f.Store.Lock(ctx, req)
		})
	},
}, {
	name:   "returns no TTL after a wait for a declared lock",
	rows:   []string{"a declared lock lasts for its TTL after a wait"},
	inject: changeWaitedGrants(func(_ stores.Request, _ time.Time, g *stores.Grant) { g.TTL = 0 }),
}, {
	name: "hands a declared lock over with its old token",
	rows: []string{"a waiter gets a declared lock when it is released"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			l, _ := f.lookup(req.Key)
			g, err := f.Store.Lock(ctx, req)
			if l.Token > 0 && g.Acquired {
				g.Token = l.Token
			}
			return g, err
		})
	},
}, {
	name: "counts the lease of a declared lock from the request",
	rows: []string{"a declared lock lasts for its TTL after a wait"},
	inject: changeWaitedGrants(func(req stores.Request, asked time.Time, g *stores.Grant) {
		if req.Group != "" {
			g.Expires = asked
		}
	}),
}, {
	name: "makes a declared lock last for a minute after a wait",
	rows: []string{"a declared lock lasts for its TTL after a wait"},
	inject: func(f *faulty) {
		changeWaitedGrants(func(req stores.Request, _ time.Time, _ *stores.Grant) {
			if req.Group != "" {
				_, _ = f.Store.Renew(context.Background(), withoutGroup(req))
			}
		})(f)
	},
}, {
	name: "serves waiters with a group first",
	rows: []string{"waiters with and without a group are served in order of arrival"},
	inject: func(f *faulty) {
		f.queueLocks(func(e *queueEntry, before, behind []*queueEntry) bool {
			named := func(other *queueEntry) bool { return other.hasGroup }
			if e.hasGroup {
				return !e.conflictsWith(filter(before, named))
			}
			return !e.conflictsWith(before) && !e.conflictsWith(filter(behind, named))
		})
	},
}, {
	name: "cancels waiters in Declare",
	rows: []string{"a lock with waiters can be declared"},
	inject: func(f *faulty) {
		f.allowCancel()
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			f.cancelSet().cancelAll(d.Key)
			return f.Store.Declare(ctx, d)
		}
	},
}, {
	name: "lets requests with a group overtake waiters",
	rows: []string{"waiters with and without a group are served in order of arrival"},
	inject: func(f *faulty) {
		f.replaceTryLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if err == nil && !g.Acquired {
				return f.forceLock(ctx, withoutGroup(req))
			}
			return g, err
		})
	},
}, {
	name: "lets an owner wait for its own lock",
	rows: []string{
		"a waiting request is rejected if its owner holds the declared lock", "a request is rejected if its owner waits for the declared lock",
		"one of an owner's concurrent requests waits",
	},
	inject: waitWithoutGroupAfter(stores.ErrRepeated),
}, {
	name: "refuses a declared lock to its waiter without an error",
	rows: []string{"a request is rejected if its owner waits for the declared lock"},
	inject: func(f *faulty) {
		f.replaceTryLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if errors.Is(err, stores.ErrRepeated) && f.holder(req.Key) != req.Owner {
				return stores.Grant{}, nil
			}
			return g, err
		})
	},
}, {
	name: "ends the first wait of an owner that requests the lock again",
	rows: []string{"a request is rejected if its owner waits for the declared lock"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if errors.Is(err, stores.ErrRepeated) {
				_ = f.Store.Release(ctx, req.Key, req.Owner)
			}
			return g, err
		})
	},
}, {
	name: "checks only for waits through the same client",
	rows: []string{"a request is rejected if its owner waits for the declared lock"},
	inject: func(f *faulty) {
		own := fmt.Sprintf("%p", f)
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if _, here := f.shared.Load(own + req.Key + req.Owner); !here && errors.Is(err, stores.ErrRepeated) {
				f.shared.Store(own+req.Key+req.Owner, true)
				return f.Store.Lock(ctx, withoutGroup(req))
			}
			return g, err
		})
	},
}, {
	name: "remembers former waiters",
	rows: []string{
		"an owner whose wait ended can wait for a declared lock again", "a wait that is canceled during a withdrawal leaves no trace",
	},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, again := f.shared.LoadOrStore(req.Key+req.Owner, true); again {
				return stores.Grant{}, fmt.Errorf("memory: lock %q: %w", req.Key, stores.ErrRepeated)
			}
			return f.Store.Lock(ctx, req)
		})
	},
}, {
	name: "waits for a declared lock after ctx has ended",
	rows: []string{"a Lock of a declared lock whose ctx has ended acquires nothing"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(_ context.Context, req stores.Request) (stores.Grant, error) {
			return f.Store.Lock(context.Background(), req)
		})
	},
}, {
	name: "detects no cycles of declared locks",
	rows: []string{"waiting in a cycle for declared locks is a deadlock"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			req.Holding = nil
			return f.Store.Lock(ctx, req)
		})
	},
}}

// brokenWithdrawnWaits break the rules about waiters of a withdrawn lock.
var brokenWithdrawnWaits = []broken{{
	name: "keeps the waiters of a withdrawn lock",
	rows: []string{
		"withdrawing a lock fails its waiters", "a withdrawn lock goes to the next waiter without a group",
		"withdrawing a free lock fails its waiters",
	},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			_, declared := f.lookup(req.Key)
			g, err := f.Store.Lock(ctx, req)
			if declared && errors.Is(err, stores.ErrNotDeclared) {
				<-ctx.Done()
			}
			return g, err
		})
	},
}, {
	name: "grants a lock that is declared again to its old waiters",
	rows: []string{
		"declaring a withdrawn lock again does not keep its waiters",
		"waiters of a withdrawn lock are never granted",
	},
	inject: waitAgainAfter(stores.ErrNotDeclared),
}, {
	name:   "grants a withdrawn lock to its waiters",
	rows:   []string{"withdrawing a lock fails its waiters"},
	inject: waitWithoutGroupAfter(stores.ErrNotDeclared),
}, {
	name: "cancels waiters without a group in Withdraw",
	rows: []string{"a withdrawn lock goes to the next waiter without a group"},
	inject: func(f *faulty) {
		f.allowCancel()
		f.withdraw = f.withdrawAndCancel
	},
}, {
	name: "cancels waiters for several locks in Withdraw",
	rows: []string{
		"a waiter for several locks gets them when one is withdrawn", "withdrawing a free lock fails its waiters",
	},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			for _, key := range req.Keys {
				var cancel context.CancelFunc
				ctx, cancel = f.cancelSet().add(ctx, key)
				defer cancel()
			}
			return f.Store.LockAll(ctx, req)
		}
		f.withdraw = f.withdrawAndCancel
	},
}}

// waitWithoutGroupAfter waits without the group if the request fails with outcome.
func waitWithoutGroupAfter(outcome error) func(*faulty) {
	return func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if errors.Is(err, outcome) {
				return f.Store.Lock(ctx, withoutGroup(req))
			}
			return g, err
		})
	}
}

// waitAgainAfter waits again if a wait for a declared lock fails with outcome.
func waitAgainAfter(outcome error) func(*faulty) {
	return func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			_, declared := f.lookup(req.Key)
			for {
				g, err := f.Store.Lock(ctx, req)
				if !declared || !errors.Is(err, outcome) || ctx.Err() != nil {
					return g, err
				}
				pause()
			}
		})
	}
}

// withdrawAndCancel withdraws a lock and cancels its waiters without a group.
func (f *faulty) withdrawAndCancel(ctx context.Context, group, key string) error {
	err := f.Store.Withdraw(ctx, group, key)
	f.cancelSet().cancelAll(key)
	return err
}
