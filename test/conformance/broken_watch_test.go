package conformance

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// brokenSnapshots send a wrong first event.
var brokenSnapshots = []broken{{
	name:   "sends no empty snapshot",
	rows:   []string{"an empty snapshot is sent too"},
	inject: filterEvents(func(e stores.Event) bool { return e.Kind != stores.EventSnapshot || len(e.Locks) > 0 }),
}, {
	name:   "sets Missed in the first snapshot",
	rows:   []string{"an empty snapshot is sent too"},
	inject: changeEvents(func(e *stores.Event) { e.Missed = e.Kind == stores.EventSnapshot }),
}, {
	name:   "sends snapshots in reverse order",
	rows:   []string{"a snapshot has the held locks"},
	inject: changeEvents(func(e *stores.Event) { slices.Reverse(e.Locks) }),
}, {
	name: "sends grants instead of a snapshot",
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
	name: "has expired locks in a snapshot",
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
	name:   "sends one page of a snapshot",
	rows:   []string{"a snapshot may have many locks"},
	inject: changeEvents(func(e *stores.Event) { e.Locks = e.Locks[:min(len(e.Locks), 100)] }),
}, {
	name: "takes a snapshot before it subscribes",
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
			time.Sleep(20 * time.Millisecond) // so that it certainly misses a change
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				if e.Kind == stores.EventSnapshot {
					return nil
				}
				return notify(e)
			})
		}
	},
}}

// brokenWatches break the rules about later events and the end of a Watch.
var brokenWatches = []broken{{
	name: "continues after an error of the callback",
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
	name: "wraps the error of the callback",
	rows: []string{"an error of the callback ends the watch"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			err := f.Store.Watch(ctx, prefix, notify)
			return fmt.Errorf("memory: watch %q: %w", prefix, err)
		}
	},
}, {
	name: "returns no error when ctx ends",
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
	name: "does not end watches in Close",
	rows: []string{"closing a client ends only its own watches"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			return f.open().Watch(ctx, prefix, notify)
		}
	},
}, {
	name: "ends the watches of all clients in Close",
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
	name: "blocks other calls during the callback",
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
	name: "distributes the events among the watchers",
	rows: []string{"all watchers see all changes"},
	inject: func(f *faulty) {
		filterEvents(func(e stores.Event) bool {
			_, sent := f.shared.LoadOrStore(e.Revision, true)
			return !sent || e.Kind == stores.EventSnapshot
		})(f)
	},
}, {
	name:   "sends decreasing revisions",
	rows:   []string{"revisions never decrease"},
	inject: changeEvents(func(e *stores.Event) { e.Revision = 1<<63 - e.Revision }),
}, {
	name: "sends snapshots with unrelated revisions",
	rows: []string{"revisions never decrease"},
	inject: changeEvents(func(e *stores.Event) {
		if e.Kind == stores.EventSnapshot {
			e.Revision = 1 << 63
		}
	}),
}, {
	name:   "drops events of slow watchers",
	rows:   []string{"a slow watcher learns that it missed events", "a slightly slow watcher misses nothing"},
	inject: func(f *faulty) { f.bufferEvents(100) },
}, {
	name: "buffers everything for slow watchers",
	rows: []string{"a slow watcher learns that it missed events"},
	inject: func(f *faulty) {
		f.bufferEvents(10 * overflowChanges)
		var unlocks atomic.Int64
		f.unlock = func(ctx context.Context, key, owner string) error {
			kept, _ := f.shared.LoadOrStore("kept", new(atomic.Int64))
			for n := unlocks.Add(1); 2*n > kept.(*atomic.Int64).Load()+1000 && ctx.Err() == nil; {
				pause() // the memory store must not drop events
			}
			return f.Store.Unlock(ctx, key, owner)
		}
	},
}, {
	name:   "does not set Missed",
	rows:   []string{"a slow watcher learns that it missed events"},
	inject: changeEvents(func(e *stores.Event) { e.Missed = false }),
}, {
	name: "calls the callback concurrently",
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

// bufferEvents buffers size events for a slow watcher and drops the rest.
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
