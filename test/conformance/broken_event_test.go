package conformance

import (
	"context"
	"path"
	"strings"
	"sync"

	"github.com/mortise-lock/mortise/stores"
)

// brokenEvents are stores that tell the wrong events.
var brokenEvents = []broken{{
	what:   "tells nothing of locks that are given back",
	caught: []string{"a watcher sees grants and releases"},
	with:   tellsIf(func(e stores.Event) bool { return e.Kind != stores.EventReleased }),
}, {
	what: "tells nothing of locks that expire",
	caught: []string{
		"a watcher sees a lock expire", "a watcher sees a lock expire before the next grant",
		"a watcher sees a lock in the snapshot expire", "a watcher sees a renewed lock expire",
	},
	with: tellsIf(func(e stores.Event) bool { return e.Kind != stores.EventExpired }),
}, {
	what:   "tells that a lock has expired when something else happens",
	caught: []string{"a watcher sees a lock expire"},
	with: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			var late []stores.Event
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				if late = append(late, e); e.Kind == stores.EventExpired {
					return nil
				}
				for _, e := range late {
					if err := tell(e); err != nil {
						return err
					}
				}
				late = nil
				return nil
			})
		}
	},
}, {
	what: "tells the end of a lock only if it has told the beginning",
	caught: []string{
		"a watcher sees the release of a lock in the snapshot",
		"a watcher sees a lock in the snapshot expire",
	},
	with: func(f *faulty) {
		var begun sync.Map
		tellsIf(func(e stores.Event) bool {
			if e.Kind == stores.EventAcquired {
				begun.Store(e.Lock.Token, true)
			}
			_, ok := begun.Load(e.Lock.Token)
			return ok || e.Kind == stores.EventSnapshot
		})(f)
	},
}, {
	what:   "tells keys and owners only",
	caught: []string{"a watcher sees grants and releases"},
	with: retells(func(e *stores.Event) {
		e.Lock = stores.LockInfo{Key: e.Lock.Key, Owner: e.Lock.Owner}
	}),
}, {
	what:   "tells no metadata",
	caught: []string{"a watcher sees the metadata of a lock"},
	with:   retells(func(e *stores.Event) { e.Lock.Metadata = nil }),
}, {
	what:   "tells a revoked lock as given back",
	caught: []string{"a watcher sees a lock revoked"},
	with: retells(func(e *stores.Event) {
		if e.Kind == stores.EventRevoked {
			e.Kind = stores.EventReleased
		}
	}),
}, {
	what:   "tells that a lock has expired when its first lease is over",
	caught: []string{"a watcher sees a renewed lock expire"},
	with: func(f *faulty) {
		renewals(func(req stores.Request, _ *stores.Grant) { f.notes.Store(req.Key, true) })(f)
		tellsIf(func(e stores.Event) bool {
			_, renewed := f.notes.Load(e.Lock.Key)
			return !renewed || e.Kind != stores.EventExpired
		})(f)
	},
}, {
	what:   "tells one of several locks",
	caught: []string{"a watcher sees each of several locks"},
	with: func(f *faulty) {
		tellsIf(func(e stores.Event) bool {
			_, again := f.notes.LoadOrStore(e.Lock.Token, true)
			return !again || e.Kind != stores.EventAcquired
		})(f)
	},
}, {
	what: "tells half of a hand-over",
	caught: []string{
		"a watcher sees a release before the waiter's grant",
		"a watcher sees a revocation before the waiter's grant",
		"a watcher sees an expiry before the waiter's grant",
	},
	with: func(f *faulty) {
		tellsIf(func(e stores.Event) bool {
			return e.Kind == stores.EventSnapshot || e.Kind == stores.EventAcquired || f.holder(e.Lock.Key) == ""
		})(f)
	},
}, {
	what:   "tells what is under the prefix only",
	caught: []string{"a watcher sees only locks under its prefix"},
	with: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				if e.Lock.Key == prefix {
					return nil
				}
				return tell(e)
			})
		}
	},
}, {
	what:   "tells all changes to every watcher",
	caught: []string{"a watcher sees only locks under its prefix"},
	with: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			return f.Store.Watch(ctx, "", func(e stores.Event) error {
				e.Locks = filter(e.Locks, func(l stores.LockInfo) bool { return strings.HasPrefix(l.Key, prefix) })
				return tell(e)
			})
		}
	},
}, {
	what:   "takes a watcher's prefix for a pattern",
	caught: []string{"a watcher's prefix is not a pattern"},
	with: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			matches := func(l stores.LockInfo) bool { ok, _ := path.Match(prefix+"*", l.Key); return ok }
			return f.Store.Watch(ctx, "", func(e stores.Event) error {
				if e.Kind != stores.EventSnapshot && !matches(e.Lock) {
					return nil
				}
				e.Locks = filter(e.Locks, matches)
				return tell(e)
			})
		}
	},
}, {
	what:   "tells nothing under the empty prefix",
	caught: []string{"the empty prefix watches all locks"},
	with: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			if prefix == "" {
				prefix = "everything"
			}
			return f.Store.Watch(ctx, prefix, tell)
		}
	},
}, {
	what:   "tells names with their white space trimmed",
	caught: []string{"a watcher receives names unchanged"},
	with:   retells(func(e *stores.Event) { e.Lock.Owner = strings.TrimSpace(e.Lock.Owner) }),
}, {
	what:   "tells names as UTF-8",
	caught: []string{"a watcher receives names of any bytes unchanged"},
	with:   retells(func(e *stores.Event) { e.Lock.Key = strings.ToValidUTF8(e.Lock.Key, "\ufffd") }),
}, {
	what:   "tells of those who are refused",
	caught: []string{"refused calls send no event"},
	with: func(f *faulty) {
		f.tellsAll()
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if !g.Acquired {
				f.tellAll(stores.Event{Kind: stores.EventAcquired, Lock: stores.LockInfo{Key: req.Key, Owner: req.Owner}})
			}
			return g, err
		}
	},
}, {
	what:   "tells of renewals",
	caught: []string{"renewals send no event"},
	with: func(f *faulty) {
		f.tellsAll()
		renewals(func(req stores.Request, g *stores.Grant) {
			f.tellAll(stores.Event{Kind: stores.EventAcquired, Lock: stores.LockInfo{Key: req.Key, Owner: req.Owner, Token: g.Token}})
		})(f)
	},
}, {
	what:   "tells of those who wait",
	caught: []string{"waits send no event"},
	with: func(f *faulty) {
		f.tellsAll()
		waits(func(req *stores.Request) {
			f.tellAll(stores.Event{Kind: stores.EventAcquired, Lock: stores.LockInfo{Key: req.Key, Owner: req.Owner}})
		})(f)
	},
}}

// tellsIf leaves some events out.
func tellsIf(told func(e stores.Event) bool) func(*faulty) {
	return func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				if !told(e) {
					return nil
				}
				return tell(e)
			})
		}
	}
}

// retells changes each event.
func retells(change func(e *stores.Event)) func(*faulty) {
	return func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				change(&e)
				return tell(e)
			})
		}
	}
}

// tellsAll lets tellAll reach those who watch.
func (f *faulty) tellsAll() {
	f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
		var mu sync.Mutex // tell is called by one at a time
		locked := func(e stores.Event) error {
			mu.Lock()
			defer mu.Unlock()
			return tell(e)
		}
		f.notes.Store(&mu, locked)
		defer f.notes.Delete(&mu)
		return f.Store.Watch(ctx, prefix, locked)
	}
}

// tellAll tells all who watch of something that has not happened.
func (f *faulty) tellAll(e stores.Event) {
	for _, tell := range f.notes.Range {
		if tell, ok := tell.(func(stores.Event) error); ok {
			_ = tell(e)
		}
	}
}
