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
	what:   "does not renew",
	caught: []string{"a renewal extends a lock", "a renewal shortens a lock"},
	with: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			l, _ := f.lock(req.Key)
			return stores.Grant{Acquired: true, Token: l.Token, Expires: time.Now().Add(l.Remaining)}, ctx.Err()
		}
	},
}, {
	what:   "only makes locks last longer",
	caught: []string{"a renewal shortens a lock"},
	with:   renewsFor(func(req stores.Request, l stores.LockInfo) time.Duration { return max(req.TTL, l.Remaining) }),
}, {
	what:   "renews from the old end",
	caught: []string{"a renewal counts from now", "a renewal shortens a lock"},
	with:   renewsFor(func(req stores.Request, l stores.LockInfo) time.Duration { return req.TTL + l.Remaining }),
}, {
	what:   "renews from the grant",
	caught: []string{"a renewal counts from now"},
	with: renewsFor(func(req stores.Request, l stores.LockInfo) time.Duration {
		return max(req.TTL-(l.TTL-l.Remaining), stores.MinTTL)
	}),
}, {
	what:   "renews once",
	caught: []string{"a lock is renewed repeatedly"},
	with: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, again := f.notes.LoadOrStore(req.Key, true); again {
				return stores.Grant{}, stores.ErrNotHeld
			}
			return f.Store.Renew(ctx, req)
		}
	},
}, {
	what:   "renews with a new token",
	caught: []string{"a renewal keeps the token"},
	with:   renewals(func(_ stores.Request, g *stores.Grant) { g.Token++ }),
}, {
	what:   "tells the TTL of the grant with a renewal",
	caught: []string{"a renewal reports its TTL"},
	with:   renewals(func(_ stores.Request, g *stores.Grant) { g.TTL = lease }),
}, {
	what:   "counts Expires of a renewal from the answer",
	caught: []string{"the holder stops before the next owner starts after a renewal"},
	with: renewals(func(req stores.Request, g *stores.Grant) {
		pause()
		g.Expires = time.Now().Add(req.TTL)
	}),
}, {
	what:   "tells Expires of a renewal by the wall clock",
	caught: []string{"the deadline of a renewal has a monotonic reading"},
	with:   renewals(func(_ stores.Request, g *stores.Grant) { g.Expires = g.Expires.Round(0) }),
}, {
	what:   "lets anybody renew",
	caught: []string{"only the holder renews"},
	with: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if holder := f.holder(req.Key); holder != "" {
				req.Owner = holder
			}
			return f.Store.Renew(ctx, req)
		}
	},
}, {
	what:   "renews before it looks at the owner",
	caught: []string{"only the holder renews"},
	with: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			_, _ = f.Store.Renew(ctx, stores.Request{Key: req.Key, Owner: f.holder(req.Key), TTL: req.TTL})
			return f.Store.Renew(ctx, req)
		}
	},
}, {
	what:   "takes a free lock when asked to renew it",
	caught: []string{"a free lock cannot be renewed", "an expired lock cannot be renewed"},
	with: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Renew(ctx, req)
			if errors.Is(err, stores.ErrNotHeld) {
				return f.Store.TryLock(ctx, req)
			}
			return g, err
		}
	},
}, {
	what:   "renews whether or not ctx has ended",
	caught: []string{"a renewal whose ctx has ended changes nothing"},
	with: func(f *faulty) {
		f.renew = func(_ context.Context, req stores.Request) (stores.Grant, error) {
			return f.Store.Renew(context.Background(), req)
		}
	},
}, {
	what:   "looks whether a lock is held and renews it in two steps",
	caught: []string{"a renewal during Unlock does not restore the lock"},
	with: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			time.Sleep(time.Microsecond) // so that the two begin together
			return f.Store.Unlock(ctx, key, owner)
		}
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if g, err := f.Store.Renew(ctx, req); err != nil {
				return g, err
			}
			pause()
			return f.take(ctx, req)
		}
	},
}}

// renewsFor renews for another time than was asked for.
func renewsFor(ttl func(req stores.Request, l stores.LockInfo) time.Duration) func(*faulty) {
	return func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if l, held := f.lock(req.Key); held {
				req.TTL = ttl(req, l)
			}
			return f.Store.Renew(ctx, req)
		}
	}
}

var brokenLists = []broken{{
	what:   "lists no tokens",
	caught: []string{"a list has a lock as it was granted"},
	with:   rewrites(func(l *stores.LockInfo) { l.Token = 0 }),
}, {
	what:   "lists the time left as the TTL",
	caught: []string{"a list has a lock as it was renewed"},
	with: func(f *faulty) {
		answers(func(req stores.Request, _ *stores.Grant) { f.notes.Store(req.Key, req.TTL) })(f)
		rewrites(func(l *stores.LockInfo) {
			ttl, _ := f.notes.Load(l.Key)
			l.TTL = ttl.(time.Duration)
		})(f)
	},
}, {
	what:   "lists the TTL as the time left",
	caught: []string{"the remaining time decreases"},
	with:   rewrites(func(l *stores.LockInfo) { l.Remaining = l.TTL }),
}, {
	what:   "lists in no order",
	caught: []string{"a list is sorted by key"},
	with:   relists(func(locks []stores.LockInfo) []stores.LockInfo { slices.Reverse(locks); return locks }),
}, {
	what:   "sorts without regard to case",
	caught: []string{"a list is sorted by key"},
	with: relists(func(locks []stores.LockInfo) []stores.LockInfo {
		slices.SortFunc(locks, func(a, b stores.LockInfo) int {
			return strings.Compare(strings.ToLower(a.Key), strings.ToLower(b.Key))
		})
		return locks
	}),
}, {
	what:   "lists one page",
	caught: []string{"a list is complete"},
	with:   relists(func(locks []stores.LockInfo) []stores.LockInfo { return locks[:min(len(locks), 100)] }),
}, {
	what:   "reads the second page from where the first one ended",
	caught: []string{"a held lock stays listed while others come and go"},
	with: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			page, _ := f.Store.List(ctx, prefix)
			page = page[:min(len(page), 2)]
			pause()
			rest, err := f.Store.List(ctx, prefix)
			return append(page, rest[min(len(rest), len(page)):]...), err
		}
	},
}, {
	what:   "lists what is under the prefix only",
	caught: []string{"a list has only locks under its prefix", "Get returns one lock"},
	with: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			locks, err := f.Store.List(ctx, prefix)
			return filter(locks, func(l stores.LockInfo) bool { return l.Key != prefix }), err
		}
	},
}, {
	what:   "takes the prefix for a pattern",
	caught: []string{"a prefix is not a pattern"},
	with: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			locks, err := f.Store.List(ctx, "")
			return filter(locks, func(l stores.LockInfo) bool {
				flat := strings.NewReplacer("/", ":") // so that * spans all
				matches, _ := path.Match(flat.Replace(prefix)+"*", flat.Replace(l.Key))
				return matches
			}), err
		}
	},
}, {
	what:   "lists nothing under the empty prefix",
	caught: []string{"the empty prefix lists all locks"},
	with: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			if prefix == "" {
				return nil, ctx.Err()
			}
			return f.Store.List(ctx, prefix)
		}
	},
}, {
	what:   "lists names with their white space trimmed",
	caught: []string{"a list returns names unchanged"},
	with:   rewrites(func(l *stores.LockInfo) { l.Owner = strings.TrimSpace(l.Owner) }),
}, {
	what:   "lists names as UTF-8",
	caught: []string{"a list returns names of any bytes unchanged"},
	with:   rewrites(func(l *stores.LockInfo) { l.Key = strings.ToValidUTF8(l.Key, "\ufffd") }),
}, {
	what:   "finds an empty list an error",
	caught: []string{"an empty list is not an error"},
	with: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			locks, err := f.Store.List(ctx, prefix)
			if err == nil && len(locks) == 0 {
				err = stores.ErrNotHeld
			}
			return locks, err
		}
	},
}, {
	what:   "lists every lock there ever was",
	caught: []string{"a released lock is not listed", "an expired lock is not listed"},
	with: func(f *faulty) {
		answers(func(req stores.Request, g *stores.Grant) {
			f.notes.Store(req.Key, stores.LockInfo{Key: req.Key, Owner: req.Owner, TTL: req.TTL, Token: g.Token})
		})(f)
		f.list = func(ctx context.Context, prefix string) (locks []stores.LockInfo, err error) {
			for _, l := range f.notes.Range {
				locks = append(locks, l.(stores.LockInfo))
			}
			slices.SortFunc(locks, func(a, b stores.LockInfo) int { return strings.Compare(a.Key, b.Key) })
			return locks, ctx.Err()
		}
	},
}}

// relists changes each list.
func relists(change func([]stores.LockInfo) []stores.LockInfo) func(*faulty) {
	return func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			locks, err := f.Store.List(ctx, prefix)
			return change(locks), err
		}
	}
}

// rewrites changes each lock in a list.
func rewrites(change func(l *stores.LockInfo)) func(*faulty) {
	return relists(func(locks []stores.LockInfo) []stores.LockInfo {
		for i := range locks {
			change(&locks[i])
		}
		return locks
	})
}
