package conformance

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mortise-lock/mortise/stores"
)

// brokenSnapshots are stores that begin a Watch in the wrong way.
var brokenSnapshots = []broken{{
	name:   "tells no empty snapshot",
	rows:   []string{"an empty snapshot is sent too"},
	inject: filterEvents(func(e stores.Event) bool { return e.Kind != stores.EventSnapshot || len(e.Locks) > 0 }),
}, {
	name:   "says of the first snapshot that something was missed",
	rows:   []string{"an empty snapshot is sent too"},
	inject: changeEvents(func(e *stores.Event) { e.Missed = e.Kind == stores.EventSnapshot }),
}, {
	name:   "tells what is held in no order",
	rows:   []string{"a snapshot has the held locks"},
	inject: changeEvents(func(e *stores.Event) { slices.Reverse(e.Locks) }),
}, {
	name: "tells what is held one by one",
	rows: []string{"a snapshot has the held locks"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				for _, l := range e.Locks {
					if err := notify(stores.Event{Kind: stores.EventAcquired, Lock: l}); err != nil {
						return err
					}
				}
				if e.Kind == stores.EventSnapshot {
					return nil
				}
				return notify(e)
			})
		}
	},
}, {
	name: "first tells of what has expired too",
	rows: []string{"a snapshot has no free locks"},
	inject: func(f *faulty) {
		changeGrants(func(req stores.Request, g *stores.Grant) {
			f.shared.Store(req.Key, stores.LockInfo{Key: req.Key, Owner: req.Owner, TTL: req.TTL, Token: g.Token})
		})(f)
		f.unlock = func(ctx context.Context, key, owner string) error {
			f.shared.Delete(key)
			return f.Store.Unlock(ctx, key, owner)
		}
		changeEvents(func(e *stores.Event) {
			if e.Kind == stores.EventSnapshot {
				e.Locks = nil
				for _, l := range f.shared.Range {
					e.Locks = append(e.Locks, l.(stores.LockInfo))
				}
			}
		})(f)
	},
}, {
	name:   "first tells one page",
	rows:   []string{"a snapshot may have many locks"},
	inject: changeEvents(func(e *stores.Event) { e.Locks = e.Locks[:min(len(e.Locks), 100)] }),
}, {
	name: "takes a snapshot and then begins to listen",
	rows: []string{"watchers agree with the list"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			locks, err := f.Store.List(ctx, prefix)
			if err != nil {
				return err
			}
			if err := notify(stores.Event{Kind: stores.EventSnapshot, Locks: locks}); err != nil {
				return err
			}
			pause()
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				if e.Kind == stores.EventSnapshot {
					return nil
				}
				return notify(e)
			})
		}
	},
}}

// brokenWatches are stores that carry on or end a Watch in the wrong way.
var brokenWatches = []broken{{
	name: "goes on when the watcher has had enough",
	rows: []string{"an error of the callback ends the watch"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			var enough error
			err := f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				if err := notify(e); err != nil {
					enough = err
				}
				return nil
			})
			if enough != nil {
				return enough
			}
			return err
		}
	},
}, {
	name: "wraps the watcher's error",
	rows: []string{"an error of the callback ends the watch"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			err := f.Store.Watch(ctx, prefix, notify)
			return fmt.Errorf("memory: watch %q: %w", prefix, err)
		}
	},
}, {
	name: "is content when the ctx of a watch ends",
	rows: []string{"a watch ends with its ctx"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			err := f.Store.Watch(ctx, prefix, notify)
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	},
}, {
	name: "watches on when it is closed",
	rows: []string{"closing a client ends only its own watches"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			return f.open().Watch(ctx, prefix, notify)
		}
	},
}, {
	name: "ends all watches when one client is closed",
	rows: []string{"closing a client ends only its own watches"},
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
	name: "serves nobody while it tells a watcher",
	rows: []string{"the callback may use the store"},
	inject: func(f *faulty) {
		busy := make(chan struct{}, 1)
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				busy <- struct{}{}
				defer func() { <-busy }()
				return notify(e)
			})
		}
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			select {
			case busy <- struct{}{}:
				defer func() { <-busy }()
				return f.Store.TryLock(ctx, req)
			case <-ctx.Done():
				return stores.Grant{}, ctx.Err()
			}
		}
	},
}, {
	name: "deals its changes out to those who watch",
	rows: []string{"all watchers see all changes"},
	inject: func(f *faulty) {
		filterEvents(func(e stores.Event) bool {
			_, told := f.shared.LoadOrStore(e.Revision, true)
			return !told || e.Kind == stores.EventSnapshot
		})(f)
	},
}, {
	name:   "counts revisions backwards",
	rows:   []string{"revisions never decrease"},
	inject: changeEvents(func(e *stores.Event) { e.Revision = 1<<63 - e.Revision }),
}, {
	name: "numbers snapshots in its own way",
	rows: []string{"revisions never decrease"},
	inject: changeEvents(func(e *stores.Event) {
		if e.Kind == stores.EventSnapshot {
			e.Revision = 1 << 63
		}
	}),
}, {
	name:   "drops what a slow watcher has no room for",
	rows:   []string{"a slow watcher learns that it missed events", "a slightly slow watcher misses nothing"},
	inject: func(f *faulty) { f.bufferEvents(100) },
}, {
	name: "keeps everything for a slow watcher",
	rows: []string{"a slow watcher learns that it missed events"},
	inject: func(f *faulty) {
		f.bufferEvents(10 * overflowChanges)
		var unlocks atomic.Int64
		f.unlock = func(ctx context.Context, key, owner string) error {
			kept, _ := f.shared.LoadOrStore("kept", new(atomic.Int64))
			for n := unlocks.Add(1); 2*n > kept.(*atomic.Int64).Load()+1000 && ctx.Err() == nil; {
				pause() // lest the sound store should miss something
			}
			return f.Store.Unlock(ctx, key, owner)
		}
	},
}, {
	name:   "hides that something was missed",
	rows:   []string{"a slow watcher learns that it missed events"},
	inject: changeEvents(func(e *stores.Event) { e.Missed = false }),
}, {
	name: "tells a watcher of several things at once",
	rows: []string{"the callback is not called concurrently"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			var callbacks sync.WaitGroup
			defer callbacks.Wait()
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				if e.Kind == stores.EventSnapshot {
					return notify(e)
				}
				callbacks.Go(func() { _ = notify(e) })
				return nil
			})
		}
	},
}}

// buffers keeps some events for a slow watcher and drops the rest.
func (f *faulty) bufferEvents(size int) {
	f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
		events := make(chan stores.Event, size)
		var callback sync.WaitGroup
		defer callback.Wait()
		defer close(events)
		callback.Go(func() {
			for e := range events {
				_ = notify(e)
			}
		})
		return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
			kept, _ := f.shared.LoadOrStore("kept", new(atomic.Int64))
			kept.(*atomic.Int64).Add(1)
			select {
			case events <- e:
			default:
			}
			return nil
		})
	}
}
