package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

var brokenMultis = []broken{{
	name:   "acquires only the first of several locks",
	rows:   []string{"several free locks are granted together", "locks acquired together have the same metadata"},
	inject: changeMultiRequests(func(req *stores.MultiRequest) { req.Keys = req.Keys[:1] }),
}, {
	name: "returns no TTL from LockAll",
	rows: []string{"a grant of several locks reports their TTL"},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			g, err := f.Store.LockAll(ctx, req)
			g.TTL = 0
			return g, err
		}
	},
}, {
	name: "refuses LockAll of one lock",
	rows: []string{"LockAll of one lock is like TryLock"},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			if len(req.Keys) == 1 {
				return stores.Grant{}, ctx.Err()
			}
			return f.Store.LockAll(ctx, req)
		}
	},
}, {
	name:   "acquires at most fifty locks together",
	rows:   []string{"64 locks are granted together"},
	inject: changeMultiRequests(func(req *stores.MultiRequest) { req.Keys = req.Keys[:min(len(req.Keys), 50)] }),
}, {
	name: "counts the token of several locks by the first",
	rows: []string{"several locks have one token"},
	inject: func(f *faulty) {
		f.countTokens(func(req stores.Request) string { return req.Key })
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			g, err := f.Store.LockAll(ctx, req)
			last, _ := f.shared.LoadOrStore(req.Keys[0], uint64(0))
			g.Token = last.(uint64) + 1
			return g, err
		}
	},
}, {
	name: "has a token for each of several locks",
	rows: []string{"each of several locks is listed"},
	inject: changeLists(func(locks []stores.LockInfo) []stores.LockInfo {
		for i := range locks {
			locks[i].Token += uint64(i)
		}
		return locks
	}),
}, {
	name: "releases several locks together",
	rows: []string{"each of several locks is released separately"},
	inject: func(f *faulty) {
		f.rememberGroups()
		f.unlock = func(ctx context.Context, key, owner string) error {
			err := f.Store.Unlock(ctx, key, owner)
			for _, other := range f.lockedWith(key) {
				_ = f.Store.Unlock(ctx, other, owner)
			}
			return err
		}
	},
}, {
	name: "renews several locks together",
	rows: []string{"each of several locks is renewed separately"},
	inject: func(f *faulty) {
		f.rememberGroups()
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Renew(ctx, req)
			for _, other := range f.lockedWith(req.Key) {
				req.Key = other
				_, _ = f.Store.Renew(ctx, req)
			}
			return g, err
		}
	},
}, {
	name:   "makes several locks expire early",
	rows:   []string{"several locks last for their TTL"},
	inject: changeMultiRequests(func(req *stores.MultiRequest) { req.TTL = max(req.TTL-2*time.Millisecond, stores.MinTTL) }),
}, {
	name: "counts Expires of several locks from the response",
	rows: []string{"several locks last for their TTL"},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			g, err := f.Store.LockAll(ctx, req)
			pause()
			g.Expires = time.Now().Add(req.TTL)
			return g, err
		}
	},
}, {
	name: "keeps a part of several locks",
	rows: []string{"several locks are refused if one is held"},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			all, err := f.Store.LockAll(ctx, req)
			for _, single := range singles(req) {
				_, _ = f.Store.TryLock(ctx, single)
			}
			return all, err
		}
	},
}, {
	name: "returns an error if one of several locks is held",
	rows: []string{"several locks are refused if one is held"},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			g, err := f.Store.LockAll(ctx, req)
			if err == nil && !g.Acquired {
				err = errors.New("held")
			}
			return g, err
		}
	},
}, {
	name: "refuses several locks if one has expired",
	rows: []string{"an expired lock does not block LockAll"},
	inject: func(f *faulty) {
		changeGrants(func(req stores.Request, _ *stores.Grant) { f.shared.Store(req.Key, true) })(f)
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			for _, key := range req.Keys {
				if _, taken := f.shared.Load(key); taken {
					return stores.Grant{}, ctx.Err()
				}
			}
			return f.Store.LockAll(ctx, req)
		}
	},
}, {
	name: "acquires several locks after ctx has ended",
	rows: []string{"a LockAll whose ctx has ended acquires nothing"},
	inject: func(f *faulty) {
		f.lockAll = func(_ context.Context, req stores.MultiRequest) (stores.Grant, error) {
			return f.Store.LockAll(context.Background(), req)
		}
	},
}, {
	name: "checks several locks and acquires them in two steps",
	rows: []string{"one of many concurrent LockAll calls is granted"},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			for _, key := range req.Keys {
				if f.holder(key) != "" {
					return stores.Grant{}, ctx.Err()
				}
			}
			pause()
			return f.lockOneByOne(ctx, req, f.forceLock)
		}
	},
}, {
	name: "acquires several locks one after the other",
	rows: []string{
		"a refused LockAll never holds a part of the locks",
		"a granted LockAll acquires all locks at one moment", "a refused LockAll sends no event",
	},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			return f.lockOneByOne(ctx, req, f.TryLock)
		}
	},
}}

var brokenMultiWaits = []broken{{
	name: "delays every waiting LockAll",
	rows: []string{"a waiting LockAll gets free locks at once"},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			if req.Wait {
				time.Sleep(time.Second)
			}
			return f.Store.LockAll(ctx, req)
		}
	},
}, {
	name: "waits for one of several locks",
	rows: []string{"a waiter for several locks gets them when the last is released"},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			singles := singles(req)
			g, err := f.Store.Lock(ctx, singles[1])
			for i := range singles {
				if i != 1 && err == nil {
					_, err = f.forceLock(ctx, singles[i])
				}
			}
			return g, err
		}
	},
}, {
	name:   "does not notify waiters for several locks at an expiry",
	rows:   []string{"a waiter for several locks gets them when the last expires"},
	inject: func(f *faulty) { f.queueLocks(fifo) },
}, {
	name: "holds a part of several locks while it waits",
	rows: []string{
		"a waiter for several locks holds none of them", "locks requested in opposite orders cause no deadlock",
	},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			if !req.Wait {
				return f.Store.LockAll(ctx, req)
			}
			return f.lockOneByOne(ctx, req, f.Lock)
		}
		failWaitsSoon(f)
	},
}, {
	name: "lets TryLock overtake waiters for several locks",
	rows: []string{"no request overtakes a waiter for several locks"},
	inject: func(f *faulty) {
		f.queueLocks(fifo)
		f.tryLock = nil
	},
}, {
	name: "lets LockAll overtake waiters for several locks",
	rows: []string{"no request overtakes a waiter for several locks"},
	inject: func(f *faulty) {
		f.queueLocks(fifo)
		lockAll := f.lockAll
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			if !req.Wait {
				return f.Store.LockAll(ctx, req)
			}
			return lockAll(ctx, req)
		}
	},
}, {
	name: "serves waiters for one lock first",
	rows: []string{"a later waiter for one of several locks is served later"},
	inject: func(f *faulty) {
		f.queueLocks(func(e *queueEntry, before, behind []*queueEntry) bool {
			one := func(other *queueEntry) bool { return len(other.keys) == 1 }
			if one(e) {
				return !e.conflictsWith(filter(before, one))
			}
			return !e.conflictsWith(before) && !e.conflictsWith(filter(behind, one))
		})
	},
}, {
	name: "serves waiters for several locks first",
	rows: []string{"an earlier waiter for one of several locks is served first"},
	inject: func(f *faulty) {
		f.queueLocks(func(e *queueEntry, before, behind []*queueEntry) bool {
			several := func(other *queueEntry) bool { return len(other.keys) > 1 }
			if several(e) {
				return !e.conflictsWith(filter(before, several))
			}
			return !e.conflictsWith(before) && !e.conflictsWith(filter(behind, several))
		})
	},
}, {
	name: "keeps canceled waits for several locks in the queue",
	rows: []string{"a canceled wait for several locks leaves no trace"},
	inject: func(f *faulty) {
		q := f.queueLocks(fifo)
		lockAll := f.lockAll
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			g, err := lockAll(ctx, req)
			if err != nil {
				q.addStale(req.Keys...)
			}
			return g, err
		}
	},
}, {
	name: "counts the lease of several locks from the request",
	rows: []string{"several locks last for their TTL after a wait"},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			asked := time.Now()
			g, err := f.Store.LockAll(ctx, req)
			for _, single := range singles(req) {
				single.TTL = max(single.TTL-time.Since(asked), stores.MinTTL)
				_, _ = f.Store.Renew(ctx, single)
			}
			return g, err
		}
	},
}, {
	name: "does not end waits for several locks in Close",
	rows: []string{"closing a client ends its waits for several locks"},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			return f.open().LockAll(ctx, req)
		}
	},
}, {
	name: "drops a late grant of several locks",
	rows: []string{"a grant of several locks and the end of ctx exclude each other"},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			g, err := f.Store.LockAll(ctx, req)
			pause()
			if ctx.Err() != nil {
				return stores.Grant{}, fmt.Errorf("memory: lock all %q: %w", req.Keys, ctx.Err())
			}
			return g, err
		}
	},
}, {
	name: "counts waiters for several locks once",
	rows: []string{"a waiter for several locks counts for each"},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			for _, key := range req.Keys[1:] {
				f.shared.Store(key, true)
				defer f.shared.Delete(key)
			}
			return f.Store.LockAll(ctx, req)
		}
		changeListedLocks(func(l *stores.LockInfo) {
			if _, second := f.shared.Load(l.Key); second {
				l.Waiters--
			}
		})(f)
	},
}}

// changeMultiRequests changes each request for several locks.
func changeMultiRequests(change func(req *stores.MultiRequest)) func(*faulty) {
	return func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			change(&req)
			return f.Store.LockAll(ctx, req)
		}
	}
}

// singles returns a request for each of several locks.
func singles(req stores.MultiRequest) (singles []stores.Request) {
	for _, key := range req.Keys {
		singles = append(singles, stores.Request{Key: key, Owner: req.Owner, TTL: req.TTL, Metadata: req.Metadata})
	}
	return singles
}

// lockOneByOne acquires several locks one after the other, and releases them if it does
// not get one.
func (f *faulty) lockOneByOne(
	ctx context.Context, req stores.MultiRequest, take func(context.Context, stores.Request) (stores.Grant, error),
) (g stores.Grant, err error) {
	for i, single := range singles(req) {
		if g, err = take(ctx, single); err != nil || !g.Acquired {
			for _, key := range req.Keys[:i] {
				_ = f.Unlock(context.WithoutCancel(ctx), key, req.Owner)
			}
			return g, err
		}
		pause()
	}
	return g, nil
}

// rememberGroups records which locks were acquired together.
func (f *faulty) rememberGroups() {
	f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
		for _, key := range req.Keys {
			f.shared.Store(key, slices.Clone(req.Keys))
		}
		return f.Store.LockAll(ctx, req)
	}
}

// lockedWith returns the locks that were acquired together with the key.
func (f *faulty) lockedWith(key string) []string {
	keys, _ := f.shared.LoadOrStore(key, []string{})
	return filter(keys.([]string), func(other string) bool { return other != key })
}
