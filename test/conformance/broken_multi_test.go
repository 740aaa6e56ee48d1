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
	what:   "takes the first of several locks",
	caught: []string{"several free locks are granted together", "locks acquired together have the same metadata"},
	with:   asksAll(func(req *stores.MultiRequest) { req.Keys = req.Keys[:1] }),
}, {
	what:   "tells no TTL with several locks",
	caught: []string{"a grant of several locks reports their TTL"},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			g, err := f.Store.LockAll(ctx, req)
			g.TTL = 0
			return g, err
		}
	},
}, {
	what:   "takes only locks that are really several",
	caught: []string{"LockAll of one lock is like TryLock"},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			if len(req.Keys) == 1 {
				return stores.Grant{}, ctx.Err()
			}
			return f.Store.LockAll(ctx, req)
		}
	},
}, {
	what:   "takes up to fifty locks at once",
	caught: []string{"64 locks are granted together"},
	with:   asksAll(func(req *stores.MultiRequest) { req.Keys = req.Keys[:min(len(req.Keys), 50)] }),
}, {
	what:   "counts the token of several locks by the first",
	caught: []string{"several locks have one token"},
	with: func(f *faulty) {
		f.counts(func(req stores.Request) string { return req.Key })
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			g, err := f.Store.LockAll(ctx, req)
			last, _ := f.notes.LoadOrStore(req.Keys[0], uint64(0))
			g.Token = last.(uint64) + 1
			return g, err
		}
	},
}, {
	what:   "has a token for each of several locks",
	caught: []string{"each of several locks is listed"},
	with: relists(func(locks []stores.LockInfo) []stores.LockInfo {
		for i := range locks {
			locks[i].Token += uint64(i)
		}
		return locks
	}),
}, {
	what:   "gives several locks back together",
	caught: []string{"each of several locks is released separately"},
	with: func(f *faulty) {
		f.remembersAll()
		f.unlock = func(ctx context.Context, key, owner string) error {
			err := f.Store.Unlock(ctx, key, owner)
			for _, other := range f.takenWith(key) {
				_ = f.Store.Unlock(ctx, other, owner)
			}
			return err
		}
	},
}, {
	what:   "renews several locks together",
	caught: []string{"each of several locks is renewed separately"},
	with: func(f *faulty) {
		f.remembersAll()
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Renew(ctx, req)
			for _, other := range f.takenWith(req.Key) {
				req.Key = other
				_, _ = f.Store.Renew(ctx, req)
			}
			return g, err
		}
	},
}, {
	what:   "counts the lease of several locks a little short",
	caught: []string{"several locks last for their TTL"},
	with:   asksAll(func(req *stores.MultiRequest) { req.TTL = max(req.TTL-2*time.Millisecond, stores.MinTTL) }),
}, {
	what:   "counts Expires of several locks from the answer",
	caught: []string{"several locks last for their TTL"},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			g, err := f.Store.LockAll(ctx, req)
			pause()
			g.Expires = time.Now().Add(req.TTL)
			return g, err
		}
	},
}, {
	what:   "keeps what it could take of several locks",
	caught: []string{"several locks are refused if one is held"},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			all, err := f.Store.LockAll(ctx, req)
			for _, single := range singles(req) {
				_, _ = f.Store.TryLock(ctx, single)
			}
			return all, err
		}
	},
}, {
	what:   "finds an error in that one of several locks is held",
	caught: []string{"several locks are refused if one is held"},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			g, err := f.Store.LockAll(ctx, req)
			if err == nil && !g.Acquired {
				err = errors.New("held")
			}
			return g, err
		}
	},
}, {
	what:   "refuses several locks of which one has expired",
	caught: []string{"an expired lock does not block LockAll"},
	with: func(f *faulty) {
		answers(func(req stores.Request, _ *stores.Grant) { f.notes.Store(req.Key, true) })(f)
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			for _, key := range req.Keys {
				if _, taken := f.notes.Load(key); taken {
					return stores.Grant{}, ctx.Err()
				}
			}
			return f.Store.LockAll(ctx, req)
		}
	},
}, {
	what:   "takes several locks whether or not ctx has ended",
	caught: []string{"a LockAll whose ctx has ended acquires nothing"},
	with: func(f *faulty) {
		f.lockAll = func(_ context.Context, req stores.MultiRequest) (stores.Grant, error) {
			return f.Store.LockAll(context.Background(), req)
		}
	},
}, {
	what:   "looks whether several locks are free and takes them in two steps",
	caught: []string{"one of many concurrent LockAll calls is granted"},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			for _, key := range req.Keys {
				if f.holder(key) != "" {
					return stores.Grant{}, ctx.Err()
				}
			}
			pause()
			return f.oneByOne(ctx, req, f.take)
		}
	},
}, {
	what: "takes several locks one after the other",
	caught: []string{
		"a refused LockAll never holds a part of the locks",
		"a granted LockAll acquires all locks at one moment", "a refused LockAll sends no event",
	},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			return f.oneByOne(ctx, req, f.TryLock)
		}
	},
}}

var brokenMultiWaits = []broken{{
	what:   "makes everybody wait who would wait for several locks",
	caught: []string{"a waiting LockAll gets free locks at once"},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			if req.Wait {
				time.Sleep(time.Second)
			}
			return f.Store.LockAll(ctx, req)
		}
	},
}, {
	what:   "waits for one of several locks",
	caught: []string{"a waiter for several locks gets them when the last is released"},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			singles := singles(req)
			g, err := f.Store.Lock(ctx, singles[1])
			for i := range singles {
				if i != 1 && err == nil {
					_, err = f.take(ctx, singles[i])
				}
			}
			return g, err
		}
	},
}, {
	what:   "wakes nobody who waits for several locks when one expires",
	caught: []string{"a waiter for several locks gets them when the last expires"},
	with:   func(f *faulty) { f.lineUp(inOrder) },
}, {
	what: "takes what it gets of several locks and waits for the rest",
	caught: []string{
		"a waiter for several locks holds none of them", "locks requested in opposite orders cause no deadlock",
	},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			if !req.Wait {
				return f.Store.LockAll(ctx, req)
			}
			return f.oneByOne(ctx, req, f.Lock)
		}
		hurries(f)
	},
}, {
	what:   "lets others take what is free while somebody waits for more",
	caught: []string{"no request overtakes a waiter for several locks"},
	with: func(f *faulty) {
		f.lineUp(inOrder)
		f.tryLock = nil
	},
}, {
	what:   "lets others take several locks while somebody waits for one of them",
	caught: []string{"no request overtakes a waiter for several locks"},
	with: func(f *faulty) {
		f.lineUp(inOrder)
		lockAll := f.lockAll
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			if !req.Wait {
				return f.Store.LockAll(ctx, req)
			}
			return lockAll(ctx, req)
		}
	},
}, {
	what:   "serves who wants one lock before those who want several",
	caught: []string{"a later waiter for one of several locks is served later"},
	with: func(f *faulty) {
		f.lineUp(func(p *place, before, behind []*place) bool {
			one := func(other *place) bool { return len(other.keys) == 1 }
			if one(p) {
				return !p.meets(filter(before, one))
			}
			return !p.meets(before) && !p.meets(filter(behind, one))
		})
	},
}, {
	what:   "serves who wants several locks before those who want one",
	caught: []string{"an earlier waiter for one of several locks is served first"},
	with: func(f *faulty) {
		f.lineUp(func(p *place, before, behind []*place) bool {
			several := func(other *place) bool { return len(other.keys) > 1 }
			if several(p) {
				return !p.meets(filter(before, several))
			}
			return !p.meets(before) && !p.meets(filter(behind, several))
		})
	},
}, {
	what:   "keeps the places of who has given up several locks",
	caught: []string{"a canceled wait for several locks leaves no trace"},
	with: func(f *faulty) {
		n := f.lineUp(inOrder)
		lockAll := f.lockAll
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			g, err := lockAll(ctx, req)
			if err != nil {
				n.haunt(req.Keys...)
			}
			return g, err
		}
	},
}, {
	what:   "counts the lease of who has waited for several locks from the request",
	caught: []string{"several locks last for their TTL after a wait"},
	with: func(f *faulty) {
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
	what:   "leaves those who wait for several locks asleep when it is closed",
	caught: []string{"closing a client ends its waits for several locks"},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			return f.open().LockAll(ctx, req)
		}
	},
}, {
	what:   "throws a grant of several locks away that came too late",
	caught: []string{"a grant of several locks and the end of ctx exclude each other"},
	with: func(f *faulty) {
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
	what:   "counts who waits for several locks once",
	caught: []string{"a waiter for several locks counts for each"},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			for _, key := range req.Keys[1:] {
				f.notes.Store(key, true)
				defer f.notes.Delete(key)
			}
			return f.Store.LockAll(ctx, req)
		}
		rewrites(func(l *stores.LockInfo) {
			if _, second := f.notes.Load(l.Key); second {
				l.Waiters--
			}
		})(f)
	},
}}

// asksAll changes each request for several locks.
func asksAll(change func(req *stores.MultiRequest)) func(*faulty) {
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

// oneByOne takes several locks one after the other, and gives them back if it does not
// get one.
func (f *faulty) oneByOne(
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

// remembersAll notes which locks were taken together.
func (f *faulty) remembersAll() {
	f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
		for _, key := range req.Keys {
			f.notes.Store(key, slices.Clone(req.Keys))
		}
		return f.Store.LockAll(ctx, req)
	}
}

// takenWith returns the locks that were taken together with another.
func (f *faulty) takenWith(key string) []string {
	keys, _ := f.notes.LoadOrStore(key, []string{})
	return filter(keys.([]string), func(other string) bool { return other != key })
}
