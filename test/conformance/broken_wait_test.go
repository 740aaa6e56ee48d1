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
	name: "makes everybody wait for a push",
	rows: []string{
		"a waiting request gets a free lock at once", "a waiting request gets an expired lock at once",
	},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			time.Sleep(time.Second)
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	name: "waits for what is not given back, be it expired",
	rows: []string{"a waiting request gets an expired lock at once"},
	inject: func(f *faulty) {
		changeGrants(func(req stores.Request, _ *stores.Grant) { f.shared.Store(req.Key, true) })(f)
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, taken := f.shared.Load(req.Key); taken {
				time.Sleep(time.Second)
			}
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	name: "answers a wait like a try",
	rows: []string{"a waiter gets the lock when it is released"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) { return f.Store.TryLock(ctx, req) }
	},
}, {
	name: "finds out each second what has changed",
	rows: []string{
		"a waiter gets the lock when it is released", "a waiter gets the lock when it expires",
		"a waiter gets a lock that is revoked",
	},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			began := time.Now()
			g, err := f.Store.Lock(ctx, req)
			time.Sleep(time.Second - time.Since(began)%time.Second)
			return g, err
		}
	},
}, {
	name:   "wakes nobody when a lock expires",
	rows:   []string{"a waiter gets the lock when it expires"},
	inject: func(f *faulty) { f.queueLocks(fifo) },
}, {
	name: "wakes those who wait at the end of the lease that they saw",
	rows: []string{"a waiter gets the lock when a shortened lease expires"},
	inject: func(f *faulty) {
		n := f.queueLocks(fifo)
		wait := f.lock
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			l, _ := f.lookup(req.Key)
			time.AfterFunc(l.Remaining, n.notifyAll)
			return wait(ctx, req)
		}
	},
}, {
	name: "hands a lock over at the end of the lease that was seen",
	rows: []string{"a waiter does not get a lock that is renewed"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if l, held := f.lookup(req.Key); held {
				time.AfterFunc(l.Remaining, func() { _ = f.Store.Unlock(context.Background(), l.Key, l.Owner) })
			}
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	name: "grants a wait for one's own lock at once",
	rows: []string{"a holder can wait for its own lock"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if f.holder(req.Key) == req.Owner {
				return f.Store.Renew(ctx, req)
			}
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	name:   "takes a wait for one's own lock for a deadlock",
	rows:   []string{"a holder can wait for its own lock"},
	inject: changeWaits(func(req *stores.Request) { req.Holding = append(req.Holding, req.Owner) }),
}, {
	name: "waits whether or not ctx has ended",
	rows: []string{"a Lock whose ctx has ended acquires nothing"},
	inject: func(f *faulty) {
		f.lock = func(_ context.Context, req stores.Request) (stores.Grant, error) {
			return f.Store.Lock(context.Background(), req)
		}
	},
}, {
	name:   "counts the tokens of those who have waited backwards",
	rows:   []string{"tokens grow from waiter to waiter"},
	inject: changeWaitedGrants(func(_ stores.Request, _ time.Time, g *stores.Grant) { g.Token = 1<<63 - g.Token }),
}, {
	name:   "tells no TTL to who would wait",
	rows:   []string{"a grant after a wait reports its TTL"},
	inject: changeWaitedGrants(func(_ stores.Request, _ time.Time, g *stores.Grant) { g.TTL = 0 }),
}, {
	name: "counts the lease of who has waited from the request",
	rows: []string{"a lock lasts for its TTL after a wait"},
	inject: func(f *faulty) {
		changeWaitedGrants(func(req stores.Request, asked time.Time, _ *stores.Grant) {
			req.TTL = max(req.TTL-time.Since(asked), stores.MinTTL)
			_, _ = f.Store.Renew(context.Background(), req)
		})(f)
	},
}, {
	name: "counts Expires of who has waited from the answer",
	rows: []string{"the holder stops before the next owner starts after a wait"},
	inject: changeWaitedGrants(func(req stores.Request, _ time.Time, g *stores.Grant) {
		g.Expires = time.Now().Add(req.TTL + time.Microsecond)
	}),
}, {
	name:   "counts Expires of who has waited from the request",
	rows:   []string{"a holder has most of its lease after a long wait"},
	inject: changeWaitedGrants(func(req stores.Request, asked time.Time, g *stores.Grant) { g.Expires = asked.Add(req.TTL) }),
}, {
	name:   "tells Expires of who has waited by the wall clock",
	rows:   []string{"the deadline after a wait has a monotonic reading"},
	inject: changeWaitedGrants(func(_ stores.Request, _ time.Time, g *stores.Grant) { g.Expires = g.Expires.Round(0) }),
}}

// brokenLines are stores that keep another order than that of arrival.
var brokenQueues = []broken{{
	name: "serves first who came last",
	rows: []string{"waiters are served first come, first served"},
	inject: func(f *faulty) {
		f.queueLocks(func(p *queueEntry, _, behind []*queueEntry) bool { return !p.conflictsWith(behind) })
	},
}, {
	name: "keeps a queue in each client",
	rows: []string{"waiters are served first come, first served"},
	inject: func(f *faulty) {
		f.queueLocks(func(p *queueEntry, before, _ []*queueEntry) bool {
			return !p.conflictsWith(filter(before, func(other *queueEntry) bool { return other.client == p.client }))
		})
	},
}, {
	name: "lets the last be the first when somebody leaves the queue",
	rows: []string{"canceled waits do not change the order"},
	inject: func(f *faulty) {
		n := f.queueLocks(fifo)
		wait := f.lock
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := wait(ctx, req)
			if err != nil {
				n.moveLastToFront()
			}
			return g, err
		}
	},
}, {
	name: "keeps the place of who has given up",
	rows: []string{"a canceled waiter does not block the next"},
	inject: func(f *faulty) {
		n := f.queueLocks(fifo)
		wait := f.lock
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := wait(ctx, req)
			if err != nil {
				n.addStale(req.Key)
			}
			return g, err
		}
	},
}, {
	name: "has one queue for all locks",
	rows: []string{"waits for different locks are independent"},
	inject: func(f *faulty) {
		f.queueLocks(func(_ *queueEntry, before, _ []*queueEntry) bool { return len(before) == 0 })
	},
}, {
	name: "lets TryLock overtake those who wait",
	rows: []string{"TryLock does not overtake waiters"},
	inject: func(f *faulty) {
		f.queueLocks(func(p *queueEntry, before, _ []*queueEntry) bool {
			pause()
			return fifo(p, before, nil)
		})
		f.tryLock = nil
	},
}, {
	name: "forgets to wake somebody now and then",
	rows: []string{"no notification of a waiter is lost"},
	inject: func(f *faulty) {
		n := f.queueLocks(fifo)
		var unlocks atomic.Int64
		f.unlock = func(ctx context.Context, key, owner string) error {
			if unlocks.Add(1)%20 != 0 {
				defer n.notifyAll()
			}
			return f.Store.Unlock(ctx, key, owner)
		}
		failWaitsSoon(f)
	},
}, {
	name:   "grants a lock to who would wait for it",
	rows:   []string{"a lock never has two holders after waits"},
	inject: func(f *faulty) { f.lock = f.forceLock },
}, {
	name: "tells for each lock how many wait for any",
	rows: []string{"a list has the number of waiters"},
	inject: func(f *faulty) {
		changeListedLocks(func(l *stores.LockInfo) {
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
	name: "tells of the end of a wait in its own words",
	rows: []string{"a canceled wait fails with the ctx's error"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if ctx.Err() != nil {
				return g, errors.New("waited too long")
			}
			return g, err
		}
	},
}, {
	name: "takes every end of a wait for a cancellation",
	rows: []string{"a canceled wait fails with the ctx's error"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if ctx.Err() != nil {
				return g, fmt.Errorf("memory: lock %q: %w", req.Key, context.Canceled)
			}
			return g, err
		}
	},
}, {
	name: "leaves those who gave up in the queue",
	rows: []string{"a canceled wait fails with the ctx's error", "a list has the number of waiters"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			return withoutCancel(ctx, func(ctx context.Context) (stores.Grant, error) { return f.Store.Lock(ctx, req) })
		}
	},
}, {
	name: "gives the lock to who has given up waiting for it",
	rows: []string{"a canceled waiter does not get the lock"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if ctx.Err() != nil {
				f.shared.Store(req.Key, req)
			}
			return g, err
		}
		f.unlock = func(ctx context.Context, key, owner string) error {
			err := f.Store.Unlock(ctx, key, owner)
			if req, waits := f.shared.LoadAndDelete(key); waits {
				_, _ = f.Store.TryLock(ctx, req.(stores.Request))
			}
			return err
		}
	},
}, {
	name: "leaves those who wait asleep when it is closed",
	rows: []string{"closing a client ends its waits"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) { return f.open().Lock(ctx, req) }
	},
}, {
	name: "wakes everybody when one client is closed",
	rows: []string{"closing one client keeps the waits of others"},
	inject: func(f *faulty) {
		f.shared.Store(f, true)
		f.close = func() error {
			for other := range f.shared.Range {
				_ = other.(*faulty).Store.Close()
			}
			return nil
		}
	},
}, {
	name: "throws a grant away that came too late",
	rows: []string{"a grant and the end of ctx exclude each other", "a grant that comes too late passes to the next waiter"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
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
func changeWaits(change func(req *stores.Request)) func(*faulty) {
	return func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			change(&req)
			return f.Store.Lock(ctx, req)
		}
	}
}

// waited changes each grant of who may have waited.
func changeWaitedGrants(change func(req stores.Request, asked time.Time, g *stores.Grant)) func(*faulty) {
	return func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
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
func withoutCancel(ctx context.Context, call func(context.Context) (stores.Grant, error)) (stores.Grant, error) {
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
func failWaitsSoon(f *faulty) {
	wait := f.lock
	if wait == nil {
		wait = f.Store.Lock
	}
	f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return wait(ctx, req)
	}
}
