package conformance

import (
	"context"
	"path"
	"strings"
	"sync"

	"github.com/mortise-lock/mortise/stores"
)

// brokenEvents send the wrong events.
var brokenEvents = []broken{{
	name:   "sends no event of releases",
	rows:   []string{"a watcher sees grants and releases"},
	inject: filterEvents(func(e stores.Event) bool { return e.Kind != stores.EventReleased }),
}, {
	name: "sends no event of locks that expire",
	rows: []string{
		"a watcher sees a lock expire", "a watcher sees a lock expire before the next grant",
		"a watcher sees a lock in the snapshot expire", "a watcher sees a renewed lock expire",
	},
	inject: filterEvents(func(e stores.Event) bool { return e.Kind != stores.EventExpired }),
}, {
	name: "delays events before an expiry",
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
	name: "sends the end of a lock only after its start",
	rows: []string{
		"a watcher sees the release of a lock in the snapshot",
		"a watcher sees a lock in the snapshot expire",
	},
	inject: func(f *faulty) {
		var granted sync.Map
		filterEvents(func(e stores.Event) bool {
			if e.Kind == stores.EventAcquired {
				granted.Store(e.Lock.Token, true)
			}
			_, ok := granted.Load(e.Lock.Token)
			return ok || e.Kind == stores.EventSnapshot
		})(f)
	},
}, {
	name: "sends only keys and owners",
	rows: []string{"a watcher sees grants and releases"},
	inject: changeEvents(func(e *stores.Event) {
		e.Lock = stores.LockInfo{Key: e.Lock.Key, Owner: e.Lock.Owner}
	}),
}, {
	name:   "sends no metadata",
	rows:   []string{"a watcher sees the metadata of a lock"},
	inject: changeEvents(func(e *stores.Event) { e.Lock.Metadata = nil }),
}, {
	name: "sends revocations as releases",
	rows: []string{"a watcher sees a lock revoked"},
	inject: changeEvents(func(e *stores.Event) {
		if e.Kind == stores.EventRevoked {
			e.Kind = stores.EventReleased
		}
	}),
}, {
	name: "sends no expiry of renewed locks",
	rows: []string{"a watcher sees a renewed lock expire"},
	inject: func(f *faulty) {
		changeRenewals(func(req stores.Request, _ *stores.Grant) { f.shared.Store(req.Key, true) })(f)
		filterEvents(func(e stores.Event) bool {
			_, renewed := f.shared.Load(e.Lock.Key)
			return !renewed || e.Kind != stores.EventExpired
		})(f)
	},
}, {
	name: "sends an event of only one of several locks",
	rows: []string{"a watcher sees each of several locks"},
	inject: func(f *faulty) {
		filterEvents(func(e stores.Event) bool {
			_, again := f.shared.LoadOrStore(e.Lock.Token, true)
			return !again || e.Kind != stores.EventAcquired
		})(f)
	},
}, {
	name: "sends only the grant of a handoff",
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
	name: "does not watch the key that equals the prefix",
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
	name: "sends all changes to every watcher",
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
	name: "treats a watcher's prefix as a pattern",
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
	name: "watches nothing under the empty prefix",
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
	name:   "sends names without surrounding white space",
	rows:   []string{"a watcher receives names unchanged"},
	inject: changeEvents(func(e *stores.Event) { e.Lock.Owner = strings.TrimSpace(e.Lock.Owner) }),
}, {
	name:   "sends names as valid UTF-8",
	rows:   []string{"a watcher receives names of any bytes unchanged"},
	inject: changeEvents(func(e *stores.Event) { e.Lock.Key = strings.ToValidUTF8(e.Lock.Key, "\ufffd") }),
}, {
	name: "sends events of refused calls",
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
	name: "sends events of renewals",
	rows: []string{"renewals send no event"},
	inject: func(f *faulty) {
		f.allowFakeEvents()
		changeRenewals(func(req stores.Request, g *stores.Grant) {
			f.sendFakeEvent(stores.Event{Kind: stores.EventAcquired, Lock: stores.LockInfo{Key: req.Key, Owner: req.Owner, Token: g.Token}})
		})(f)
	},
}, {
	name: "sends events of waiters",
	rows: []string{"waits send no event"},
	inject: func(f *faulty) {
		f.allowFakeEvents()
		changeWaits(func(req *stores.Request) {
			f.sendFakeEvent(stores.Event{Kind: stores.EventAcquired, Lock: stores.LockInfo{Key: req.Key, Owner: req.Owner}})
		})(f)
	},
}}

// filterEvents drops the events that keep rejects.
func filterEvents(keep func(e stores.Event) bool) func(*faulty) {
	return func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				if !keep(e) {
					return nil
				}
				return notify(e)
			})
		}
	}
}

// changeEvents changes each event.
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

// allowFakeEvents lets sendFakeEvent reach the watchers.
func (f *faulty) allowFakeEvents() {
	f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
		var mu sync.Mutex // notify must not be called concurrently
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

// sendFakeEvent sends an event of a change that has not happened to all watchers.
func (f *faulty) sendFakeEvent(e stores.Event) {
	for _, callback := range f.shared.Range {
		if notify, ok := callback.(func(stores.Event) error); ok {
			_ = notify(e)
		}
	}
}
