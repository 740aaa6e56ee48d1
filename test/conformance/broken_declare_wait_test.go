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
	what: "finds out each second what has become of a declared lock",
	caught: []string{
		"a waiting request gets a free declared lock at once", "a waiter gets a declared lock when it is released",
		"a waiter gets a declared lock when it expires", "a waiter gets a declared lock when it is revoked",
	},
	with: func(f *faulty) {
		f.waitAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			began := time.Now()
			g, err := f.Store.Lock(ctx, req)
			time.Sleep(time.Second - time.Since(began)%time.Second)
			return g, err
		})
	},
}, {
	what:   "waits until a lock exists",
	caught: []string{"a waiting request for a lock that is not declared fails"},
	with: func(f *faulty) {
		f.waitAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
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
	what:   "waits for what somebody holds, be it declared or not",
	caught: []string{"a waiting request for a lock that is not declared fails"},
	with: func(f *faulty) {
		f.waitAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if l, ok := f.lock(req.Key); ok && l.DeclaredTTL == 0 {
				req = ungrouped(req)
			}
			return f.Store.Lock(ctx, req)
		})
	},
}, {
	what:   "tells no TTL to who has waited for a declared lock",
	caught: []string{"a declared lock lasts for its TTL after a wait"},
	with:   waited(func(_ stores.Request, _ time.Time, g *stores.Grant) { g.TTL = 0 }),
}, {
	what:   "hands a declared lock over with the token that it had",
	caught: []string{"a waiter gets a declared lock when it is released"},
	with: func(f *faulty) {
		f.waitAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			l, _ := f.lock(req.Key)
			g, err := f.Store.Lock(ctx, req)
			if l.Token > 0 && g.Acquired {
				g.Token = l.Token
			}
			return g, err
		})
	},
}, {
	what:   "counts the lease of a declared lock from the request",
	caught: []string{"a declared lock lasts for its TTL after a wait"},
	with: waited(func(req stores.Request, asked time.Time, g *stores.Grant) {
		if req.Group != "" {
			g.Expires = asked
		}
	}),
}, {
	what:   "gives who has waited for a declared lock a minute",
	caught: []string{"a declared lock lasts for its TTL after a wait"},
	with: func(f *faulty) {
		waited(func(req stores.Request, _ time.Time, _ *stores.Grant) {
			if req.Group != "" {
				_, _ = f.Store.Renew(context.Background(), ungrouped(req))
			}
		})(f)
	},
}, {
	what:   "serves those who name the group before others",
	caught: []string{"waiters with and without a group are served in order of arrival"},
	with: func(f *faulty) {
		f.lineUp(func(p *place, before, behind []*place) bool {
			named := func(other *place) bool { return other.member }
			if p.member {
				return !p.meets(filter(before, named))
			}
			return !p.meets(before) && !p.meets(filter(behind, named))
		})
	},
}, {
	what:   "sends those away who wait for a lock that is declared",
	caught: []string{"a lock with waiters can be declared"},
	with: func(f *faulty) {
		f.cancelsUngrouped()
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			f.cancels().send(d.Key)
			return f.Store.Declare(ctx, d)
		}
	},
}, {
	what:   "lets one of a group overtake those who wait",
	caught: []string{"waiters with and without a group are served in order of arrival"},
	with: func(f *faulty) {
		f.tryAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if err == nil && !g.Acquired {
				return f.take(ctx, ungrouped(req))
			}
			return g, err
		})
	},
}, {
	what: "lets an owner wait for what it has or waits for",
	caught: []string{
		"a waiting request is rejected if its owner holds the declared lock", "a request is rejected if its owner waits for the declared lock",
		"one of an owner's concurrent requests waits",
	},
	with: waitsUngrouped(stores.ErrRepeated),
}, {
	what:   "refuses a declared lock without a word to who waits for it",
	caught: []string{"a request is rejected if its owner waits for the declared lock"},
	with: func(f *faulty) {
		f.tryAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if errors.Is(err, stores.ErrRepeated) && f.holder(req.Key) != req.Owner {
				return stores.Grant{}, nil
			}
			return g, err
		})
	},
}, {
	what:   "ends the wait of an owner that asks again",
	caught: []string{"a request is rejected if its owner waits for the declared lock"},
	with: func(f *faulty) {
		f.waitAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if errors.Is(err, stores.ErrRepeated) {
				_ = f.Store.Unlock(ctx, req.Key, req.Owner)
			}
			return g, err
		})
	},
}, {
	what:   "knows in each client only who waits through it",
	caught: []string{"a request is rejected if its owner waits for the declared lock"},
	with: func(f *faulty) {
		own := fmt.Sprintf("%p", f)
		f.waitAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if _, here := f.notes.Load(own + req.Key + req.Owner); !here && errors.Is(err, stores.ErrRepeated) {
				f.notes.Store(own+req.Key+req.Owner, true)
				return f.Store.Lock(ctx, ungrouped(req))
			}
			return g, err
		})
	},
}, {
	what: "remembers who has waited",
	caught: []string{
		"an owner whose wait ended can wait for a declared lock again", "a wait that is canceled during a withdrawal leaves no trace",
	},
	with: func(f *faulty) {
		f.waitAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, again := f.notes.LoadOrStore(req.Key+req.Owner, true); again {
				return stores.Grant{}, fmt.Errorf("memory: lock %q: %w", req.Key, stores.ErrRepeated)
			}
			return f.Store.Lock(ctx, req)
		})
	},
}, {
	what:   "waits for a declared lock whether or not ctx has ended",
	caught: []string{"a Lock of a declared lock whose ctx has ended acquires nothing"},
	with: func(f *faulty) {
		f.waitAs(func(_ context.Context, req stores.Request) (stores.Grant, error) {
			return f.Store.Lock(context.Background(), req)
		})
	},
}, {
	what:   "sees no circle of those who wait for declared locks",
	caught: []string{"waiting in a cycle for declared locks is a deadlock"},
	with: func(f *faulty) {
		f.waitAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			req.Holding = nil
			return f.Store.Lock(ctx, req)
		})
	},
}}

// brokenGivingUp are stores in which Unlock ends no wait, or the wrong one.
var brokenGivingUp = []broken{{
	what: "ends no wait by Unlock",
	caught: []string{
		"Unlock ends the wait of its owner", "waiters behind a wait that Unlock ended move up",
		"Unlock ends the wait for a free lock", "a grant and the end of a wait by Unlock exclude each other",
	},
	with: func(f *faulty) {
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
	what:   "ends a wait by Unlock and tells that it was somebody else's lock",
	caught: []string{"Unlock ends the wait of its owner"},
	with: func(f *faulty) {
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
	what:   "takes a wait that was given up for one that was cancelled",
	caught: []string{"Unlock ends the wait of its owner"},
	with: func(f *faulty) {
		f.waitAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if errors.Is(err, stores.ErrGaveUp) {
				return g, fmt.Errorf("memory: lock %q: %w", req.Key, context.Canceled)
			}
			return g, err
		})
	},
}, {
	what:   "takes the lock from its holder when somebody gives up",
	caught: []string{"Unlock ends the wait of its owner"},
	with: func(f *faulty) {
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
	what:   "sends everybody away when one gives up",
	caught: []string{"waiters behind a wait that Unlock ended move up"},
	with: func(f *faulty) {
		f.waitAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			f.notes.Store(req.Owner, req.Owner)
			return f.Store.Lock(ctx, req)
		})
		f.unlock = func(ctx context.Context, key, owner string) error {
			holder := f.holder(key)
			err := f.Store.Unlock(ctx, key, owner)
			for _, other := range f.notes.Range {
				if err == nil && holder != owner {
					_ = f.Store.Unlock(ctx, key, other.(string))
				}
			}
			return err
		}
	},
}, {
	what:   "ends any wait by Unlock",
	caught: []string{"Unlock does not end a wait without a group"},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			ctx, cancel := f.cancels().add(ctx, req.Key+req.Owner)
			defer cancel()
			return f.Store.Lock(ctx, req)
		}
		f.unlock = func(ctx context.Context, key, owner string) error {
			err := f.Store.Unlock(ctx, key, owner)
			if errors.Is(err, stores.ErrNotOwner) && f.cancels().send(key+owner) {
				return nil
			}
			return err
		}
	},
}, {
	what:   "looks at those who wait only if somebody holds the lock",
	caught: []string{"Unlock ends the wait for a free lock"},
	with: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if f.holder(key) == "" {
				return fmt.Errorf("memory: unlock %q: %w", key, stores.ErrNotHeld)
			}
			return f.Store.Unlock(ctx, key, owner)
		}
	},
}, {
	what:   "waits on when its owner has given up",
	caught: []string{"Unlock ends the wait of its owner", "a grant and the end of a wait by Unlock exclude each other"},
	with:   waitsOnAfter(stores.ErrGaveUp),
}}

// brokenWithdrawnWaits are stores in which those who wait fare ill when a lock is
// withdrawn.
var brokenWithdrawnWaits = []broken{{
	what: "lets those who wait go on when the lock is withdrawn",
	caught: []string{
		"withdrawing a lock fails its waiters", "a withdrawn lock goes to the next waiter without a group",
		"withdrawing a free lock fails its waiters",
	},
	with: func(f *faulty) {
		f.waitAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			_, declared := f.lock(req.Key)
			g, err := f.Store.Lock(ctx, req)
			if declared && errors.Is(err, stores.ErrNotDeclared) {
				<-ctx.Done()
			}
			return g, err
		})
	},
}, {
	what: "lets those who wait have the lock that is declared next",
	caught: []string{
		"declaring a withdrawn lock again does not keep its waiters",
		"waiters of a withdrawn lock are never granted",
	},
	with: waitsOnAfter(stores.ErrNotDeclared),
}, {
	what:   "gives a withdrawn lock to those who wait for it",
	caught: []string{"withdrawing a lock fails its waiters"},
	with:   waitsUngrouped(stores.ErrNotDeclared),
}, {
	what:   "sends everybody away when a lock is withdrawn",
	caught: []string{"a withdrawn lock goes to the next waiter without a group"},
	with: func(f *faulty) {
		f.cancelsUngrouped()
		f.withdraw = f.sendsAway
	},
}, {
	what: "sends everybody away who waits for several locks when one is withdrawn",
	caught: []string{
		"a waiter for several locks gets them when one is withdrawn", "withdrawing a free lock fails its waiters",
	},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			for _, key := range req.Keys {
				var cancel context.CancelFunc
				ctx, cancel = f.cancels().add(ctx, key)
				defer cancel()
			}
			return f.Store.LockAll(ctx, req)
		}
		f.withdraw = f.sendsAway
	},
}}

// waitsUngrouped lets one of a group wait as if the lock were like any other when it is
// told the outcome.
func waitsUngrouped(outcome error) func(*faulty) {
	return func(f *faulty) {
		f.waitAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if errors.Is(err, outcome) {
				return f.Store.Lock(ctx, ungrouped(req))
			}
			return g, err
		})
	}
}

// waitsOnAfter lets one of a group, who has begun to wait, wait again when it is told the
// outcome.
func waitsOnAfter(outcome error) func(*faulty) {
	return func(f *faulty) {
		f.waitAs(func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			_, declared := f.lock(req.Key)
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
func (f *faulty) sendsAway(ctx context.Context, group, key string) error {
	err := f.Store.Withdraw(ctx, group, key)
	f.cancels().send(key)
	return err
}
