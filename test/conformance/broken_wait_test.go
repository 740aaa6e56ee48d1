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
	name: "delays every waiting request",
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
	name: "waits for expired locks",
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
	name: "does not wait",
	rows: []string{"a waiter gets the lock when it is released"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) { return f.Store.TryLock(ctx, req) }
	},
}, {
	name: "polls once a second",
	rows: []string{
		"a waiter gets the lock when it is released", "a waiter gets the lock when it expires",
		"a waiter gets a lock that is revoked",
	},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			start := time.Now()
			g, err := f.Store.Lock(ctx, req)
			time.Sleep(time.Second - time.Since(start)%time.Second)
			return g, err
		}
	},
}, {
	name:   "does not notify waiters at an expiry",
	rows:   []string{"a waiter gets the lock when it expires"},
	inject: func(f *faulty) { f.queueLocks(fifo) },
}, {
	name: "notifies waiters at the end of the first lease",
	rows: []string{"a waiter gets the lock when a shortened lease expires"},
	inject: func(f *faulty) {
		q := f.queueLocks(fifo)
		wait := f.lock
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			l, _ := f.lookup(req.Key)
			time.AfterFunc(l.Remaining, q.notifyAll)
			return wait(ctx, req)
		}
	},
}, {
	name: "hands a lock over at the end of the first lease",
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
	name: "grants the holder's wait for its own lock",
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
	name:   "treats the holder's wait for its own lock as a deadlock",
	rows:   []string{"a holder can wait for its own lock"},
	inject: changeWaits(func(req *stores.Request) { req.Holding = append(req.Holding, req.Owner) }),
}, {
	name: "waits after ctx has ended",
	rows: []string{"a Lock whose ctx has ended acquires nothing"},
	inject: func(f *faulty) {
		f.lock = func(_ context.Context, req stores.Request) (stores.Grant, error) {
			return f.Store.Lock(context.Background(), req)
		}
	},
}, {
	name:   "returns decreasing tokens to waiters",
	rows:   []string{"tokens grow from waiter to waiter"},
	inject: changeWaitedGrants(func(_ stores.Request, _ time.Time, g *stores.Grant) { g.Token = 1<<63 - g.Token }),
}, {
	name:   "returns no TTL to waiters",
	rows:   []string{"a grant after a wait reports its TTL"},
	inject: changeWaitedGrants(func(_ stores.Request, _ time.Time, g *stores.Grant) { g.TTL = 0 }),
}, {
	name: "counts the lease of a waiter from the request",
	rows: []string{"a lock lasts for its TTL after a wait"},
	inject: func(f *faulty) {
		changeWaitedGrants(func(req stores.Request, asked time.Time, _ *stores.Grant) {
			req.TTL = max(req.TTL-time.Since(asked), stores.MinTTL)
			_, _ = f.Store.Renew(context.Background(), req)
		})(f)
	},
}, {
	name: "counts Expires of a waiter from the response",
	rows: []string{"the holder stops before the next owner starts after a wait"},
	inject: changeWaitedGrants(func(req stores.Request, _ time.Time, g *stores.Grant) {
		g.Expires = time.Now().Add(req.TTL + time.Microsecond)
	}),
}, {
	name:   "counts Expires of a waiter from the request",
	rows:   []string{"a holder has most of its lease after a long wait"},
	inject: changeWaitedGrants(func(req stores.Request, asked time.Time, g *stores.Grant) { g.Expires = asked.Add(req.TTL) }),
}, {
	name:   "returns Expires of a waiter without a monotonic reading",
	rows:   []string{"the deadline after a wait has a monotonic reading"},
	inject: changeWaitedGrants(func(_ stores.Request, _ time.Time, g *stores.Grant) { g.Expires = g.Expires.Round(0) }),
}}

// brokenQueues serve waiters in another order than that of arrival.
var brokenQueues = []broken{{
	name: "serves the last waiter first",
	rows: []string{"waiters are served first come, first served"},
	inject: func(f *faulty) {
		f.queueLocks(func(e *queueEntry, _, behind []*queueEntry) bool { return !e.conflictsWith(behind) })
	},
}, {
	name: "has a queue for each client",
	rows: []string{"waiters are served first come, first served"},
	inject: func(f *faulty) {
		f.queueLocks(func(e *queueEntry, before, _ []*queueEntry) bool {
			return !e.conflictsWith(filter(before, func(other *queueEntry) bool { return other.client == e.client }))
		})
	},
}, {
	name: "moves the last waiter to the front after a cancellation",
	rows: []string{"canceled waits do not change the order"},
	inject: func(f *faulty) {
		q := f.queueLocks(fifo)
		wait := f.lock
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := wait(ctx, req)
			if err != nil {
				q.moveLastToFront()
			}
			return g, err
		}
	},
}, {
	name: "keeps canceled waits in the queue",
	rows: []string{"a canceled waiter does not block the next"},
	inject: func(f *faulty) {
		q := f.queueLocks(fifo)
		wait := f.lock
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := wait(ctx, req)
			if err != nil {
				q.addStale(req.Key)
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
	name: "lets TryLock overtake waiters",
	rows: []string{"TryLock does not overtake waiters"},
	inject: func(f *faulty) {
		f.queueLocks(func(e *queueEntry, before, _ []*queueEntry) bool {
			pause()
			return fifo(e, before, nil)
		})
		f.tryLock = nil
	},
}, {
	name: "loses some notifications",
	rows: []string{"no notification of a waiter is lost"},
	inject: func(f *faulty) {
		q := f.queueLocks(fifo)
		var unlocks atomic.Int64
		f.unlock = func(ctx context.Context, key, owner string) error {
			if unlocks.Add(1)%20 != 0 {
				defer q.notifyAll()
			}
			return f.Store.Unlock(ctx, key, owner)
		}
		failWaitsSoon(f)
	},
}, {
	name:   "grants held locks to waiters",
	rows:   []string{"a lock never has two holders after waits"},
	inject: func(f *faulty) { f.lock = f.forceLock },
}, {
	name: "counts all waiters for each lock",
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

// brokenCancels break the rules about the end of a wait.
var brokenCancels = []broken{{
	name: "does not wrap the error of ctx after a wait",
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
	name: "returns context.Canceled from every wait",
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
	name: "keeps waiting after a cancellation",
	rows: []string{"a canceled wait fails with the ctx's error", "a list has the number of waiters"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			return withoutCancel(ctx, func(ctx context.Context) (stores.Grant, error) { return f.Store.Lock(ctx, req) })
		}
	},
}, {
	name: "grants the lock to a canceled waiter",
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
	name: "does not end waits in Close",
	rows: []string{"closing a client ends its waits"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) { return f.open().Lock(ctx, req) }
	},
}, {
	name: "ends the waits of all clients in Close",
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
	name: "drops a late grant",
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

// changeWaits changes each request of Lock.
func changeWaits(change func(req *stores.Request)) func(*faulty) {
	return func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			change(&req)
			return f.Store.Lock(ctx, req)
		}
	}
}

// changeWaitedGrants changes each grant of Lock.
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

// withoutCancel lets a call continue for a while after its ctx has ended.
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

// failWaitsSoon limits the duration of waits, so that a row on the real clock fails soon.
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
