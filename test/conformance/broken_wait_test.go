package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

var brokenWaits = []broken{{
	what: "makes everybody wait for a push",
	caught: []string{
		"a waiting request gets a free lock at once", "a waiting request gets an expired lock at once",
	},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			time.Sleep(time.Second)
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	what:   "waits for what is not given back, be it expired",
	caught: []string{"a waiting request gets an expired lock at once"},
	with: func(f *faulty) {
		answers(func(req stores.Request, _ *stores.Grant) { f.notes.Store(req.Key, true) })(f)
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, taken := f.notes.Load(req.Key); taken {
				time.Sleep(time.Second)
			}
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	what:   "answers a wait like a try",
	caught: []string{"a waiter gets the lock when it is released"},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) { return f.Store.TryLock(ctx, req) }
	},
}, {
	what: "finds out each second what has changed",
	caught: []string{
		"a waiter gets the lock when it is released", "a waiter gets the lock when it expires",
		"a waiter gets a lock that is revoked",
	},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			began := time.Now()
			g, err := f.Store.Lock(ctx, req)
			time.Sleep(time.Second - time.Since(began)%time.Second)
			return g, err
		}
	},
}, {
	what:   "wakes nobody when a lock expires",
	caught: []string{"a waiter gets the lock when it expires"},
	with:   func(f *faulty) { f.lineUp(inOrder) },
}, {
	what:   "wakes those who wait at the end of the lease that they saw",
	caught: []string{"a waiter gets the lock when a shortened lease expires"},
	with: func(f *faulty) {
		n := f.lineUp(inOrder)
		wait := f.wait
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			l, _ := f.lock(req.Key)
			time.AfterFunc(l.Remaining, n.change)
			return wait(ctx, req)
		}
	},
}, {
	what:   "hands a lock over at the end of the lease that was seen",
	caught: []string{"a waiter does not get a lock that is renewed"},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if l, held := f.lock(req.Key); held {
				time.AfterFunc(l.Remaining, func() { _ = f.Store.Unlock(context.Background(), l.Key, l.Owner) })
			}
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	what:   "grants a wait for one's own lock at once",
	caught: []string{"a holder can wait for its own lock"},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if f.holder(req.Key) == req.Owner {
				return f.Store.Renew(ctx, req)
			}
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	what:   "takes a wait for one's own lock for a deadlock",
	caught: []string{"a holder can wait for its own lock"},
	with:   waits(func(req *stores.Request) { req.Holding = append(req.Holding, req.Owner) }),
}, {
	what:   "waits whether or not ctx has ended",
	caught: []string{"a Lock whose ctx has ended acquires nothing"},
	with: func(f *faulty) {
		f.wait = func(_ context.Context, req stores.Request) (stores.Grant, error) {
			return f.Store.Lock(context.Background(), req)
		}
	},
}, {
	what:   "counts the tokens of those who have waited backwards",
	caught: []string{"tokens grow from waiter to waiter"},
	with:   waited(func(_ stores.Request, _ time.Time, g *stores.Grant) { g.Token = 1<<63 - g.Token }),
}, {
	what:   "tells no TTL to who would wait",
	caught: []string{"a grant after a wait reports its TTL"},
	with:   waited(func(_ stores.Request, _ time.Time, g *stores.Grant) { g.TTL = 0 }),
}, {
	what:   "counts the lease of who has waited from the request",
	caught: []string{"a lock lasts for its TTL after a wait"},
	with: func(f *faulty) {
		waited(func(req stores.Request, asked time.Time, _ *stores.Grant) {
			req.TTL = max(req.TTL-time.Since(asked), stores.MinTTL)
			_, _ = f.Store.Renew(context.Background(), req)
		})(f)
	},
}, {
	what:   "counts Expires of who has waited from the answer",
	caught: []string{"the holder stops before the next owner starts after a wait"},
	with: waited(func(req stores.Request, _ time.Time, g *stores.Grant) {
		g.Expires = time.Now().Add(req.TTL + time.Microsecond)
	}),
}, {
	what:   "counts Expires of who has waited from the request",
	caught: []string{"a holder has most of its lease after a long wait"},
	with:   waited(func(req stores.Request, asked time.Time, g *stores.Grant) { g.Expires = asked.Add(req.TTL) }),
}, {
	what:   "tells Expires of who has waited by the wall clock",
	caught: []string{"the deadline after a wait has a monotonic reading"},
	with:   waited(func(_ stores.Request, _ time.Time, g *stores.Grant) { g.Expires = g.Expires.Round(0) }),
}}

// brokenLines are stores that keep another order than that of arrival.
var brokenLines = []broken{{
	what:   "serves first who came last",
	caught: []string{"waiters are served first come, first served"},
	with:   func(f *faulty) { f.lineUp(func(p *place, _, behind []*place) bool { return !p.meets(behind) }) },
}, {
	what:   "keeps a queue in each client",
	caught: []string{"waiters are served first come, first served"},
	with: func(f *faulty) {
		f.lineUp(func(p *place, before, _ []*place) bool {
			return !p.meets(filter(before, func(other *place) bool { return other.client == p.client }))
		})
	},
}, {
	what:   "lets the last be the first when somebody leaves the queue",
	caught: []string{"canceled waits do not change the order"},
	with: func(f *faulty) {
		n := f.lineUp(inOrder)
		wait := f.wait
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := wait(ctx, req)
			if err != nil {
				n.jump()
			}
			return g, err
		}
	},
}, {
	what:   "keeps the place of who has given up",
	caught: []string{"a canceled waiter does not block the next"},
	with: func(f *faulty) {
		n := f.lineUp(inOrder)
		wait := f.wait
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := wait(ctx, req)
			if err != nil {
				n.haunt(req.Key)
			}
			return g, err
		}
	},
}, {
	what:   "has one queue for all locks",
	caught: []string{"waits for different locks are independent"},
	with:   func(f *faulty) { f.lineUp(func(_ *place, before, _ []*place) bool { return len(before) == 0 }) },
}, {
	what:   "lets TryLock overtake those who wait",
	caught: []string{"TryLock does not overtake waiters"},
	with: func(f *faulty) {
		f.lineUp(func(p *place, before, _ []*place) bool {
			pause()
			return inOrder(p, before, nil)
		})
		f.tryLock = nil
	},
}, {
	what:   "forgets to wake somebody now and then",
	caught: []string{"no notification of a waiter is lost"},
	with: func(f *faulty) {
		n := f.lineUp(inOrder)
		var unlocks atomic.Int64
		f.unlock = func(ctx context.Context, key, owner string) error {
			if unlocks.Add(1)%20 != 0 {
				defer n.change()
			}
			return f.Store.Unlock(ctx, key, owner)
		}
		hurries(f)
	},
}, {
	what:   "grants a lock to who would wait for it",
	caught: []string{"a lock never has two holders after waits"},
	with:   func(f *faulty) { f.wait = f.take },
}, {
	what:   "tells for each lock how many wait for any",
	caught: []string{"a list has the number of waiters"},
	with: func(f *faulty) {
		rewrites(func(l *stores.LockInfo) {
			locks, _ := f.Store.List(context.Background(), "")
			l.Waiters = 0
			for _, any := range locks {
				l.Waiters += any.Waiters
			}
		})(f)
	},
}}

// brokenCancels are stores that know no good end of waiting.
var brokenCancels = []broken{{
	what:   "tells of the end of a wait in its own words",
	caught: []string{"a canceled wait fails with the ctx's error"},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if ctx.Err() != nil {
				return g, errors.New("waited too long")
			}
			return g, err
		}
	},
}, {
	what:   "takes every end of a wait for a cancellation",
	caught: []string{"a canceled wait fails with the ctx's error"},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if ctx.Err() != nil {
				return g, fmt.Errorf("memory: lock %q: %w", req.Key, context.Canceled)
			}
			return g, err
		}
	},
}, {
	what:   "leaves those who gave up in the queue",
	caught: []string{"a canceled wait fails with the ctx's error", "a list has the number of waiters"},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			return detached(ctx, func(ctx context.Context) (stores.Grant, error) { return f.Store.Lock(ctx, req) })
		}
	},
}, {
	what:   "gives the lock to who has given up waiting for it",
	caught: []string{"a canceled waiter does not get the lock"},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if ctx.Err() != nil {
				f.notes.Store(req.Key, req)
			}
			return g, err
		}
		f.unlock = func(ctx context.Context, key, owner string) error {
			err := f.Store.Unlock(ctx, key, owner)
			if req, waits := f.notes.LoadAndDelete(key); waits {
				_, _ = f.Store.TryLock(ctx, req.(stores.Request))
			}
			return err
		}
	},
}, {
	what:   "leaves those who wait asleep when it is closed",
	caught: []string{"closing a client ends its waits"},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) { return f.open().Lock(ctx, req) }
	},
}, {
	what:   "wakes everybody when one client is closed",
	caught: []string{"closing one client keeps the waits of others"},
	with: func(f *faulty) {
		f.notes.Store(f, true)
		f.close = func() error {
			for other := range f.notes.Range {
				_ = other.(*faulty).Store.Close()
			}
			return nil
		}
	},
}, {
	what:   "throws a grant away that came too late",
	caught: []string{"a grant and the end of ctx exclude each other", "a grant that comes too late passes to the next waiter"},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			pause()
			if ctx.Err() != nil {
				return stores.Grant{}, fmt.Errorf("memory: lock %q: %w", req.Key, ctx.Err())
			}
			return g, err
		}
	},
}}

// waits changes each request of who would wait.
func waits(change func(req *stores.Request)) func(*faulty) {
	return func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			change(&req)
			return f.Store.Lock(ctx, req)
		}
	}
}

// waited changes each grant of who may have waited.
func waited(change func(req stores.Request, asked time.Time, g *stores.Grant)) func(*faulty) {
	return func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			asked := time.Now()
			g, err := f.Store.Lock(ctx, req)
			if g.Acquired {
				change(req, asked, &g)
			}
			return g, err
		}
	}
}

// detached lets a call go on for a while when its ctx has ended.
func detached(ctx context.Context, call func(context.Context) (stores.Grant, error)) (stores.Grant, error) {
	longer, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease)
	var g stores.Grant
	var err error
	done := make(chan struct{})
	go func() {
		defer cancel()
		defer close(done)
		g, err = call(longer)
	}()
	select {
	case <-done:
		return g, err
	case <-ctx.Done():
		return stores.Grant{}, fmt.Errorf("memory: lock: %w", ctx.Err())
	}
}

// hurries lets waits fail soon, so that a row in real time sees what it would only see
// later.
func hurries(f *faulty) {
	wait := f.wait
	if wait == nil {
		wait = f.Store.Lock
	}
	f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return wait(ctx, req)
	}
}
