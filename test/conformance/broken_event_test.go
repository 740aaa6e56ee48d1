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
	name:   "tells nothing of locks that are given back",
	rows:   []string{"a watcher sees grants and releases"},
	inject: filterEvents(func(e stores.Event) bool { return e.Kind != stores.EventReleased }),
}, {
	name: "tells nothing of locks that expire",
	rows: []string{
		"a watcher sees a lock expire", "a watcher sees a lock expire before the next grant",
		"a watcher sees a lock in the snapshot expire", "a watcher sees a renewed lock expire",
	},
	inject: filterEvents(func(e stores.Event) bool { return e.Kind != stores.EventExpired }),
}, {
	name: "tells that a lock has expired when something else happens",
	rows: []string{"a watcher sees a lock expire"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			var late []stores.Event
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				if late = append(late, e); e.Kind == stores.EventExpired {
					return nil
				}
				for _, e := range late {
					if err := notify(e); err != nil {
						return err
					}
				}
				late = nil
				return nil
			})
		}
	},
}, {
	name: "tells the end of a lock only if it has told the beginning",
	rows: []string{
		"a watcher sees the release of a lock in the snapshot",
		"a watcher sees a lock in the snapshot expire",
	},
	inject: func(f *faulty) {
		var begun sync.Map
		filterEvents(func(e stores.Event) bool {
			if e.Kind == stores.EventAcquired {
				begun.Store(e.Lock.Token, true)
			}
			_, ok := begun.Load(e.Lock.Token)
			return ok || e.Kind == stores.EventSnapshot
		})(f)
	},
}, {
	name: "tells keys and owners only",
	rows: []string{"a watcher sees grants and releases"},
	inject: changeEvents(func(e *stores.Event) {
		e.Lock = stores.LockInfo{Key: e.Lock.Key, Owner: e.Lock.Owner}
	}),
}, {
	name:   "tells no metadata",
	rows:   []string{"a watcher sees the metadata of a lock"},
	inject: changeEvents(func(e *stores.Event) { e.Lock.Metadata = nil }),
}, {
	name: "tells a revoked lock as given back",
	rows: []string{"a watcher sees a lock revoked"},
	inject: changeEvents(func(e *stores.Event) {
		if e.Kind == stores.EventRevoked {
			e.Kind = stores.EventReleased
		}
	}),
}, {
	name: "tells that a lock has expired when its first lease is over",
	rows: []string{"a watcher sees a renewed lock expire"},
	inject: func(f *faulty) {
		changeRenewals(func(req stores.Request, _ *stores.Grant) { f.shared.Store(req.Key, true) })(f)
		filterEvents(func(e stores.Event) bool {
			_, renewed := f.shared.Load(e.Lock.Key)
			return !renewed || e.Kind != stores.EventExpired
		})(f)
	},
}, {
	name: "tells one of several locks",
	rows: []string{"a watcher sees each of several locks"},
	inject: func(f *faulty) {
		filterEvents(func(e stores.Event) bool {
			_, again := f.shared.LoadOrStore(e.Lock.Token, true)
			return !again || e.Kind != stores.EventAcquired
		})(f)
	},
}, {
	name: "tells half of a hand-over",
	rows: []string{
		"a watcher sees a release before the waiter's grant",
		"a watcher sees a revocation before the waiter's grant",
		"a watcher sees an expiry before the waiter's grant",
	},
	inject: func(f *faulty) {
		filterEvents(func(e stores.Event) bool {
			return e.Kind == stores.EventSnapshot || e.Kind == stores.EventAcquired || f.holder(e.Lock.Key) == ""
		})(f)
	},
}, {
	name: "tells what is under the prefix only",
	rows: []string{"a watcher sees only locks under its prefix"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				if e.Lock.Key == prefix {
					return nil
				}
				return notify(e)
			})
		}
	},
}, {
	name: "tells all changes to every watcher",
	rows: []string{"a watcher sees only locks under its prefix"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			return f.Store.Watch(ctx, "", func(e stores.Event) error {
				e.Locks = filter(e.Locks, func(l stores.LockInfo) bool { return strings.HasPrefix(l.Key, prefix) })
				return notify(e)
			})
		}
	},
}, {
	name: "takes a watcher's prefix for a pattern",
	rows: []string{"a watcher's prefix is not a pattern"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			matches := func(l stores.LockInfo) bool { ok, _ := path.Match(prefix+"*", l.Key); return ok }
			return f.Store.Watch(ctx, "", func(e stores.Event) error {
				if e.Kind != stores.EventSnapshot && !matches(e.Lock) {
					return nil
				}
				e.Locks = filter(e.Locks, matches)
				return notify(e)
			})
		}
	},
}, {
	name: "tells nothing under the empty prefix",
	rows: []string{"the empty prefix watches all locks"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			if prefix == "" {
				prefix = "everything"
			}
			return f.Store.Watch(ctx, prefix, notify)
		}
	},
}, {
	name:   "tells names with their white space trimmed",
	rows:   []string{"a watcher receives names unchanged"},
	inject: changeEvents(func(e *stores.Event) { e.Lock.Owner = strings.TrimSpace(e.Lock.Owner) }),
}, {
	name:   "tells names as UTF-8",
	rows:   []string{"a watcher receives names of any bytes unchanged"},
	inject: changeEvents(func(e *stores.Event) { e.Lock.Key = strings.ToValidUTF8(e.Lock.Key, "\ufffd") }),
}, {
	name: "tells of those who are refused",
	rows: []string{"refused calls send no event"},
	inject: func(f *faulty) {
		f.allowFakeEvents()
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if !g.Acquired {
				f.sendFakeEvent(stores.Event{Kind: stores.EventAcquired, Lock: stores.LockInfo{Key: req.Key, Owner: req.Owner}})
			}
			return g, err
		}
	},
}, {
	name: "tells of renewals",
	rows: []string{"renewals send no event"},
	inject: func(f *faulty) {
		f.allowFakeEvents()
		changeRenewals(func(req stores.Request, g *stores.Grant) {
			f.sendFakeEvent(stores.Event{Kind: stores.EventAcquired, Lock: stores.LockInfo{Key: req.Key, Owner: req.Owner, Token: g.Token}})
		})(f)
	},
}, {
	name: "tells of those who wait",
	rows: []string{"waits send no event"},
	inject: func(f *faulty) {
		f.allowFakeEvents()
		changeWaits(func(req *stores.Request) {
			f.sendFakeEvent(stores.Event{Kind: stores.EventAcquired, Lock: stores.LockInfo{Key: req.Key, Owner: req.Owner}})
		})(f)
	},
}}

// tellsIf leaves some events out.
func filterEvents(told func(e stores.Event) bool) func(*faulty) {
	return func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				if !told(e) {
					return nil
				}
				return notify(e)
			})
		}
	}
}

// retells changes each event.
func changeEvents(change func(e *stores.Event)) func(*faulty) {
	return func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				change(&e)
				return notify(e)
			})
		}
	}
}

// tellsAll lets tellAll reach those who watch.
func (f *faulty) allowFakeEvents() {
	f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
		var mu sync.Mutex // tell is called by one at a time
		locked := func(e stores.Event) error {
			mu.Lock()
			defer mu.Unlock()
			return notify(e)
		}
		f.shared.Store(&mu, locked)
		defer f.shared.Delete(&mu)
		return f.Store.Watch(ctx, prefix, locked)
	}
}

// tellAll tells all who watch of something that has not happened.
func (f *faulty) sendFakeEvent(e stores.Event) {
	for _, tell := range f.shared.Range {
		if notify, ok := tell.(func(stores.Event) error); ok {
			_ = notify(e)
		}
	}
}
