package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// brokenMemberWaits are stores in which one waits for a declared lock in the wrong way.
var brokenMemberWaits = []broken{{
	name: "finds out each second what has become of a declared lock",
	rows: []string{
		"a waiting request gets a free declared lock at once", "a waiter gets a declared lock when it is released",
		"a waiter gets a declared lock when it expires", "a waiter gets a declared lock when it is revoked",
	},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			began := time.Now()
			g, err := f.Store.Lock(ctx, req)
			time.Sleep(time.Second - time.Since(began)%time.Second)
			return g, err
		})
	},
}, {
	name: "waits until a lock exists",
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
	name: "waits for what somebody holds, be it declared or not",
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
	name:   "tells no TTL to who has waited for a declared lock",
	rows:   []string{"a declared lock lasts for its TTL after a wait"},
	inject: changeWaitedGrants(func(_ stores.Request, _ time.Time, g *stores.Grant) { g.TTL = 0 }),
}, {
	name: "hands a declared lock over with the token that it had",
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
	name: "gives who has waited for a declared lock a minute",
	rows: []string{"a declared lock lasts for its TTL after a wait"},
	inject: func(f *faulty) {
		changeWaitedGrants(func(req stores.Request, _ time.Time, _ *stores.Grant) {
			if req.Group != "" {
				_, _ = f.Store.Renew(context.Background(), withoutGroup(req))
			}
		})(f)
	},
}, {
	name: "serves those who name the group before others",
	rows: []string{"waiters with and without a group are served in order of arrival"},
	inject: func(f *faulty) {
		f.queueLocks(func(p *queueEntry, before, behind []*queueEntry) bool {
			named := func(other *queueEntry) bool { return other.hasGroup }
			if p.hasGroup {
				return !p.conflictsWith(filter(before, named))
			}
			return !p.conflictsWith(before) && !p.conflictsWith(filter(behind, named))
		})
	},
}, {
	name: "sends those away who wait for a lock that is declared",
	rows: []string{"a lock with waiters can be declared"},
	inject: func(f *faulty) {
		f.allowCancel()
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			f.cancelSet().cancelAll(d.Key)
			return f.Store.Declare(ctx, d)
		}
	},
}, {
	name: "lets one of a group overtake those who wait",
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
	name: "lets an owner wait for what it has or waits for",
	rows: []string{
		"a waiting request is rejected if its owner holds the declared lock", "a request is rejected if its owner waits for the declared lock",
		"one of an owner's concurrent requests waits",
	},
	inject: waitWithoutGroupAfter(stores.ErrRepeated),
}, {
	name: "refuses a declared lock without a word to who waits for it",
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
	name: "ends the wait of an owner that asks again",
	rows: []string{"a request is rejected if its owner waits for the declared lock"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if errors.Is(err, stores.ErrRepeated) {
				_ = f.Store.Unlock(ctx, req.Key, req.Owner)
			}
			return g, err
		})
	},
}, {
	name: "knows in each client only who waits through it",
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
	name: "remembers who has waited",
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
	name: "waits for a declared lock whether or not ctx has ended",
	rows: []string{"a Lock of a declared lock whose ctx has ended acquires nothing"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(_ context.Context, req stores.Request) (stores.Grant, error) {
			return f.Store.Lock(context.Background(), req)
		})
	},
}, {
	name: "sees no circle of those who wait for declared locks",
	rows: []string{"waiting in a cycle for declared locks is a deadlock"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			req.Holding = nil
			return f.Store.Lock(ctx, req)
		})
	},
}}

// brokenGivingUp are stores in which Unlock ends no wait, or the wrong one.
var brokenUnlockedWaits = []broken{{
	name: "ends no wait by Unlock",
	rows: []string{
		"Unlock ends the wait of its owner", "waiters behind a wait that Unlock ended move up",
		"Unlock ends the wait for a free lock", "a grant and the end of a wait by Unlock exclude each other",
	},
	inject: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			switch f.holder(key) {
			case owner:
				return f.Store.Unlock(ctx, key, owner)
			case "":
				return fmt.Errorf("memory: unlock %q: %w", key, stores.ErrNotHeld)
			}
			return fmt.Errorf("memory: unlock %q: %w", key, stores.ErrNotOwner)
		}
	},
}, {
	name: "ends a wait by Unlock and tells that it was somebody else's lock",
	rows: []string{"Unlock ends the wait of its owner"},
	inject: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			holder := f.holder(key)
			err := f.Store.Unlock(ctx, key, owner)
			if err == nil && holder != owner {
				return fmt.Errorf("memory: unlock %q: %w", key, stores.ErrNotOwner)
			}
			return err
		}
	},
}, {
	name: "takes a wait that was given up for one that was cancelled",
	rows: []string{"Unlock ends the wait of its owner"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if errors.Is(err, stores.ErrGaveUp) {
				return g, fmt.Errorf("memory: lock %q: %w", req.Key, context.Canceled)
			}
			return g, err
		})
	},
}, {
	name: "takes the lock from its holder when somebody gives up",
	rows: []string{"Unlock ends the wait of its owner"},
	inject: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			holder := f.holder(key)
			err := f.Store.Unlock(ctx, key, owner)
			if err == nil && holder != owner {
				return f.Store.Revoke(ctx, key, holder)
			}
			return err
		}
	},
}, {
	name: "sends everybody away when one gives up",
	rows: []string{"waiters behind a wait that Unlock ended move up"},
	inject: func(f *faulty) {
		f.replaceLockMember(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			f.shared.Store(req.Owner, req.Owner)
			return f.Store.Lock(ctx, req)
		})
		f.unlock = func(ctx context.Context, key, owner string) error {
			holder := f.holder(key)
			err := f.Store.Unlock(ctx, key, owner)
			for _, other := range f.shared.Range {
				if err == nil && holder != owner {
					_ = f.Store.Unlock(ctx, key, other.(string))
				}
			}
			return err
		}
	},
}, {
	name: "ends any wait by Unlock",
	rows: []string{"Unlock does not end a wait without a group"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			ctx, cancel := f.cancelSet().add(ctx, req.Key+req.Owner)
			defer cancel()
			return f.Store.Lock(ctx, req)
		}
		f.unlock = func(ctx context.Context, key, owner string) error {
			err := f.Store.Unlock(ctx, key, owner)
			if errors.Is(err, stores.ErrNotOwner) && f.cancelSet().cancelAll(key+owner) {
				return nil
			}
			return err
		}
	},
}, {
	name: "looks at those who wait only if somebody holds the lock",
	rows: []string{"Unlock ends the wait for a free lock"},
	inject: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if f.holder(key) == "" {
				return fmt.Errorf("memory: unlock %q: %w", key, stores.ErrNotHeld)
			}
			return f.Store.Unlock(ctx, key, owner)
		}
	},
}, {
	name:   "waits on when its owner has given up",
	rows:   []string{"Unlock ends the wait of its owner", "a grant and the end of a wait by Unlock exclude each other"},
	inject: waitAgainAfter(stores.ErrGaveUp),
}}

// brokenWithdrawnWaits are stores in which those who wait fare ill when a lock is
// withdrawn.
var brokenWithdrawnWaits = []broken{{
	name: "lets those who wait go on when the lock is withdrawn",
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
	name: "lets those who wait have the lock that is declared next",
	rows: []string{
		"declaring a withdrawn lock again does not keep its waiters",
		"waiters of a withdrawn lock are never granted",
	},
	inject: waitAgainAfter(stores.ErrNotDeclared),
}, {
	name:   "gives a withdrawn lock to those who wait for it",
	rows:   []string{"withdrawing a lock fails its waiters"},
	inject: waitWithoutGroupAfter(stores.ErrNotDeclared),
}, {
	name: "sends everybody away when a lock is withdrawn",
	rows: []string{"a withdrawn lock goes to the next waiter without a group"},
	inject: func(f *faulty) {
		f.allowCancel()
		f.withdraw = f.withdrawAndCancel
	},
}, {
	name: "sends everybody away who waits for several locks when one is withdrawn",
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

// waitsUngrouped lets one of a group wait as if the lock were like any other when it is
// told the outcome.
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

// waitsOnAfter lets one of a group, who has begun to wait, wait again when it is told the
// outcome.
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

// sendsAway withdraws a lock and sends those away who wait for it without a group.
func (f *faulty) withdrawAndCancel(ctx context.Context, group, key string) error {
	err := f.Store.Withdraw(ctx, group, key)
	f.cancelSet().cancelAll(key)
	return err
}
