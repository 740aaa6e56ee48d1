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
	what:   "tells no empty snapshot",
	caught: []string{"an empty snapshot is sent too"},
	with:   tellsIf(func(e stores.Event) bool { return e.Kind != stores.EventSnapshot || len(e.Locks) > 0 }),
}, {
	what:   "says of the first snapshot that something was missed",
	caught: []string{"an empty snapshot is sent too"},
	with:   retells(func(e *stores.Event) { e.Missed = e.Kind == stores.EventSnapshot }),
}, {
	what:   "tells what is held in no order",
	caught: []string{"a snapshot has the held locks"},
	with:   retells(func(e *stores.Event) { slices.Reverse(e.Locks) }),
}, {
	what:   "tells what is held one by one",
	caught: []string{"a snapshot has the held locks"},
	with: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				for _, l := range e.Locks {
					if err := tell(stores.Event{Kind: stores.EventAcquired, Lock: l}); err != nil {
						return err
					}
				}
				if e.Kind == stores.EventSnapshot {
					return nil
				}
				return tell(e)
			})
		}
	},
}, {
	what:   "first tells of what has expired too",
	caught: []string{"a snapshot has no free locks"},
	with: func(f *faulty) {
		answers(func(req stores.Request, g *stores.Grant) {
			f.notes.Store(req.Key, stores.LockInfo{Key: req.Key, Owner: req.Owner, TTL: req.TTL, Token: g.Token})
		})(f)
		f.unlock = func(ctx context.Context, key, owner string) error {
			f.notes.Delete(key)
			return f.Store.Unlock(ctx, key, owner)
		}
		retells(func(e *stores.Event) {
			if e.Kind == stores.EventSnapshot {
				e.Locks = nil
				for _, l := range f.notes.Range {
					e.Locks = append(e.Locks, l.(stores.LockInfo))
				}
			}
		})(f)
	},
}, {
	what:   "first tells one page",
	caught: []string{"a snapshot may have many locks"},
	with:   retells(func(e *stores.Event) { e.Locks = e.Locks[:min(len(e.Locks), 100)] }),
}, {
	what:   "takes a snapshot and then begins to listen",
	caught: []string{"watchers agree with the list"},
	with: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			locks, err := f.Store.List(ctx, prefix)
			if err != nil {
				return err
			}
			if err := tell(stores.Event{Kind: stores.EventSnapshot, Locks: locks}); err != nil {
				return err
			}
			pause()
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				if e.Kind == stores.EventSnapshot {
					return nil
				}
				return tell(e)
			})
		}
	},
}}

// brokenWatches are stores that carry on or end a Watch in the wrong way.
var brokenWatches = []broken{{
	what:   "goes on when the watcher has had enough",
	caught: []string{"an error of the callback ends the watch"},
	with: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			var enough error
			err := f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				if err := tell(e); err != nil {
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
	what:   "wraps the watcher's error",
	caught: []string{"an error of the callback ends the watch"},
	with: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			err := f.Store.Watch(ctx, prefix, tell)
			return fmt.Errorf("memory: watch %q: %w", prefix, err)
		}
	},
}, {
	what:   "is content when the ctx of a watch ends",
	caught: []string{"a watch ends with its ctx"},
	with: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			err := f.Store.Watch(ctx, prefix, tell)
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	},
}, {
	what:   "watches on when it is closed",
	caught: []string{"closing a client ends only its own watches"},
	with: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			return f.open().Watch(ctx, prefix, tell)
		}
	},
}, {
	what:   "ends all watches when one client is closed",
	caught: []string{"closing a client ends only its own watches"},
	with: func(f *faulty) {
		f.notes.Store(f, true)
		f.close = func() error {
			for other := range f.notes.Range {
				_ = other.(*faulty).Store.Close()
			}
			return nil
		}
	},
}, {
	what:   "serves nobody while it tells a watcher",
	caught: []string{"the callback may use the store"},
	with: func(f *faulty) {
		busy := make(chan struct{}, 1)
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				busy <- struct{}{}
				defer func() { <-busy }()
				return tell(e)
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
	what:   "deals its changes out to those who watch",
	caught: []string{"all watchers see all changes"},
	with: func(f *faulty) {
		tellsIf(func(e stores.Event) bool {
			_, told := f.notes.LoadOrStore(e.Revision, true)
			return !told || e.Kind == stores.EventSnapshot
		})(f)
	},
}, {
	what:   "counts revisions backwards",
	caught: []string{"revisions never decrease"},
	with:   retells(func(e *stores.Event) { e.Revision = 1<<63 - e.Revision }),
}, {
	what:   "numbers snapshots in its own way",
	caught: []string{"revisions never decrease"},
	with: retells(func(e *stores.Event) {
		if e.Kind == stores.EventSnapshot {
			e.Revision = 1 << 63
		}
	}),
}, {
	what:   "drops what a slow watcher has no room for",
	caught: []string{"a slow watcher learns that it missed events", "a slightly slow watcher misses nothing"},
	with:   func(f *faulty) { f.buffers(100) },
}, {
	what:   "keeps everything for a slow watcher",
	caught: []string{"a slow watcher learns that it missed events"},
	with: func(f *faulty) {
		f.buffers(10 * overflowChanges)
		var unlocks atomic.Int64
		f.unlock = func(ctx context.Context, key, owner string) error {
			kept, _ := f.notes.LoadOrStore("kept", new(atomic.Int64))
			for n := unlocks.Add(1); 2*n > kept.(*atomic.Int64).Load()+1000 && ctx.Err() == nil; {
				pause() // lest the sound store should miss something
			}
			return f.Store.Unlock(ctx, key, owner)
		}
	},
}, {
	what:   "hides that something was missed",
	caught: []string{"a slow watcher learns that it missed events"},
	with:   retells(func(e *stores.Event) { e.Missed = false }),
}, {
	what:   "tells a watcher of several things at once",
	caught: []string{"the callback is not called concurrently"},
	with: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			var tellers sync.WaitGroup
			defer tellers.Wait()
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				if e.Kind == stores.EventSnapshot {
					return tell(e)
				}
				tellers.Go(func() { _ = tell(e) })
				return nil
			})
		}
	},
}}

// buffers keeps some events for a slow watcher and drops the rest.
func (f *faulty) buffers(size int) {
	f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
		events := make(chan stores.Event, size)
		var teller sync.WaitGroup
		defer teller.Wait()
		defer close(events)
		teller.Go(func() {
			for e := range events {
				_ = tell(e)
			}
		})
		return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
			kept, _ := f.notes.LoadOrStore("kept", new(atomic.Int64))
			kept.(*atomic.Int64).Add(1)
			select {
			case events <- e:
			default:
			}
			return nil
		})
	}
}
