package conformance

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

var brokenRenewals = []broken{{
	name: "does not renew",
	rows: []string{"a renewal extends a lock", "a renewal shortens a lock"},
	inject: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			l, _ := f.lookup(req.Key)
			return stores.Grant{Acquired: true, Token: l.Token, Expires: time.Now().Add(l.Remaining)}, ctx.Err()
		}
	},
}, {
	name:   "only extends locks",
	rows:   []string{"a renewal shortens a lock"},
	inject: renewForTTL(func(req stores.Request, l stores.LockInfo) time.Duration { return max(req.TTL, l.Remaining) }),
}, {
	name:   "renews from the old end",
	rows:   []string{"a renewal counts from now", "a renewal shortens a lock"},
	inject: renewForTTL(func(req stores.Request, l stores.LockInfo) time.Duration { return req.TTL + l.Remaining }),
}, {
	name: "renews from the grant",
	rows: []string{"a renewal counts from now"},
	inject: renewForTTL(func(req stores.Request, l stores.LockInfo) time.Duration {
		return max(req.TTL-(l.TTL-l.Remaining), stores.MinTTL)
	}),
}, {
	name: "renews once",
	rows: []string{"a lock is renewed repeatedly"},
	inject: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, again := f.shared.LoadOrStore(req.Key, true); again {
				return stores.Grant{}, stores.ErrNotHeld
			}
			return f.Store.Renew(ctx, req)
		}
	},
}, {
	name:   "renews with a new token",
	rows:   []string{"a renewal keeps the token"},
	inject: changeRenewals(func(_ stores.Request, g *stores.Grant) { g.Token++ }),
}, {
	name:   "returns the TTL of the grant from a renewal",
	rows:   []string{"a renewal reports its TTL"},
	inject: changeRenewals(func(_ stores.Request, g *stores.Grant) { g.TTL = lease }),
}, {
	name: "counts Expires of a renewal from the response",
	rows: []string{"the holder stops before the next owner starts after a renewal"},
	inject: changeRenewals(func(req stores.Request, g *stores.Grant) {
		pause()
		g.Expires = time.Now().Add(req.TTL)
	}),
}, {
	name:   "returns Expires of a renewal without a monotonic reading",
	rows:   []string{"the deadline of a renewal has a monotonic reading"},
	inject: changeRenewals(func(_ stores.Request, g *stores.Grant) { g.Expires = g.Expires.Round(0) }),
}, {
	name: "lets any owner renew",
	rows: []string{"only the holder renews"},
	inject: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if holder := f.holder(req.Key); holder != "" {
				req.Owner = holder
			}
			return f.Store.Renew(ctx, req)
		}
	},
}, {
	name: "renews before it checks the owner",
	rows: []string{"only the holder renews"},
	inject: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			_, _ = f.Store.Renew(ctx, stores.Request{Key: req.Key, Owner: f.holder(req.Key), TTL: req.TTL})
			return f.Store.Renew(ctx, req)
		}
	},
}, {
	name: "acquires a free lock in Renew",
	rows: []string{"a free lock cannot be renewed", "an expired lock cannot be renewed"},
	inject: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Renew(ctx, req)
			if errors.Is(err, stores.ErrNotHeld) {
				return f.Store.TryLock(ctx, req)
			}
			return g, err
		}
	},
}, {
	name: "renews after ctx has ended",
	rows: []string{"a renewal whose ctx has ended changes nothing"},
	inject: func(f *faulty) {
		f.renew = func(_ context.Context, req stores.Request) (stores.Grant, error) {
			return f.Store.Renew(context.Background(), req)
		}
	},
}, {
	name: "checks the holder and renews in two steps",
	rows: []string{"a renewal during Unlock does not restore the lock"},
	inject: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			time.Sleep(time.Microsecond) // so that both calls are in progress
			return f.Store.Unlock(ctx, key, owner)
		}
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if g, err := f.Store.Renew(ctx, req); err != nil {
				return g, err
			}
			pause()
			return f.forceLock(ctx, req)
		}
	},
}}

// renewForTTL renews for another TTL than the requested one.
func renewForTTL(ttl func(req stores.Request, l stores.LockInfo) time.Duration) func(*faulty) {
	return func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if l, held := f.lookup(req.Key); held {
				req.TTL = ttl(req, l)
			}
			return f.Store.Renew(ctx, req)
		}
	}
}

var brokenLists = []broken{{
	name:   "lists no tokens",
	rows:   []string{"a list has a lock as it was granted"},
	inject: changeListedLocks(func(l *stores.LockInfo) { l.Token = 0 }),
}, {
	name: "lists the remaining time as the TTL",
	rows: []string{"a list has a lock as it was renewed"},
	inject: func(f *faulty) {
		changeGrants(func(req stores.Request, _ *stores.Grant) { f.shared.Store(req.Key, req.TTL) })(f)
		changeListedLocks(func(l *stores.LockInfo) {
			ttl, _ := f.shared.Load(l.Key)
			l.TTL = ttl.(time.Duration)
		})(f)
	},
}, {
	name:   "lists the TTL as the remaining time",
	rows:   []string{"the remaining time decreases"},
	inject: changeListedLocks(func(l *stores.LockInfo) { l.Remaining = l.TTL }),
}, {
	name:   "lists in reverse order",
	rows:   []string{"a list is sorted by key"},
	inject: changeLists(func(locks []stores.LockInfo) []stores.LockInfo { slices.Reverse(locks); return locks }),
}, {
	name: "sorts a list without regard to case",
	rows: []string{"a list is sorted by key"},
	inject: changeLists(func(locks []stores.LockInfo) []stores.LockInfo {
		slices.SortFunc(locks, func(a, b stores.LockInfo) int {
			return strings.Compare(strings.ToLower(a.Key), strings.ToLower(b.Key))
		})
		return locks
	}),
}, {
	name:   "lists one page",
	rows:   []string{"a list is complete"},
	inject: changeLists(func(locks []stores.LockInfo) []stores.LockInfo { return locks[:min(len(locks), 100)] }),
}, {
	name: "lists the second page by its offset",
	rows: []string{"a held lock stays listed while others come and go"},
	inject: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			page, _ := f.Store.List(ctx, prefix)
			page = page[:min(len(page), 2)]
			pause()
			rest, err := f.Store.List(ctx, prefix)
			return append(page, rest[min(len(rest), len(page)):]...), err
		}
	},
}, {
	name: "does not list the key that equals the prefix",
	rows: []string{"a list has only locks under its prefix", "Get returns one lock"},
	inject: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			locks, err := f.Store.List(ctx, prefix)
			return filter(locks, func(l stores.LockInfo) bool { return l.Key != prefix }), err
		}
	},
}, {
	name: "treats the prefix as a pattern",
	rows: []string{"a prefix is not a pattern"},
	inject: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			locks, err := f.Store.List(ctx, "")
			return filter(locks, func(l stores.LockInfo) bool {
				flat := strings.NewReplacer("/", ":") // so that * matches everything
				matches, _ := path.Match(flat.Replace(prefix)+"*", flat.Replace(l.Key))
				return matches
			}), err
		}
	},
}, {
	name: "lists nothing under the empty prefix",
	rows: []string{"the empty prefix lists all locks"},
	inject: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			if prefix == "" {
				return nil, ctx.Err()
			}
			return f.Store.List(ctx, prefix)
		}
	},
}, {
	name:   "lists names without surrounding white space",
	rows:   []string{"a list returns names unchanged"},
	inject: changeListedLocks(func(l *stores.LockInfo) { l.Owner = strings.TrimSpace(l.Owner) }),
}, {
	name:   "lists names as valid UTF-8",
	rows:   []string{"a list returns names of any bytes unchanged"},
	inject: changeListedLocks(func(l *stores.LockInfo) { l.Key = strings.ToValidUTF8(l.Key, "\ufffd") }),
}, {
	name: "returns an error for an empty list",
	rows: []string{"an empty list is not an error"},
	inject: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			locks, err := f.Store.List(ctx, prefix)
			if err == nil && len(locks) == 0 {
				err = stores.ErrNotHeld
			}
			return locks, err
		}
	},
}, {
	name: "lists all locks that were ever held",
	rows: []string{"a released lock is not listed", "an expired lock is not listed"},
	inject: func(f *faulty) {
		changeGrants(func(req stores.Request, g *stores.Grant) {
			f.shared.Store(req.Key, stores.LockInfo{Key: req.Key, Owner: req.Owner, TTL: req.TTL, Token: g.Token})
		})(f)
		f.list = func(ctx context.Context, prefix string) (locks []stores.LockInfo, err error) {
			for _, l := range f.shared.Range {
				locks = append(locks, l.(stores.LockInfo))
			}
			slices.SortFunc(locks, func(a, b stores.LockInfo) int { return strings.Compare(a.Key, b.Key) })
			return locks, ctx.Err()
		}
	},
}}

// changeLists changes each list.
func changeLists(change func([]stores.LockInfo) []stores.LockInfo) func(*faulty) {
	return func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			locks, err := f.Store.List(ctx, prefix)
			return change(locks), err
		}
	}
}

// changeListedLocks changes each lock in a list.
func changeListedLocks(change func(l *stores.LockInfo)) func(*faulty) {
	return changeLists(func(locks []stores.LockInfo) []stores.LockInfo {
		for i := range locks {
			change(&locks[i])
		}
		return locks
	})
}
