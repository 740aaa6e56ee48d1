package conformance

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/mortise-lock/mortise/stores"
)

var brokenDeadlocks = []broken{{
	what:   "sees no deadlock",
	caught: []string{"a wait for a lock in its own Holding is a deadlock", "a cycle through several locks is a deadlock"},
	with:   func(f *faulty) { f.blind(func(stores.MultiRequest) bool { return true }) },
}, {
	what:   "sees that somebody waits for itself, and no more",
	caught: []string{"two owners that wait for each other are a deadlock"},
	with:   func(f *faulty) { f.sees(graph{depth: 0}) },
}, {
	what:   "sees that somebody waits for itself, but not for one of several",
	caught: []string{"a wait for a lock in its own Holding is a deadlock"},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			req.Holding = req.Holding[:min(1, len(req.Holding))]
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	what:   "sees no circle of more than two",
	caught: []string{"three owners that wait in a cycle are a deadlock"},
	with:   func(f *faulty) { f.sees(graph{depth: 1}) },
}, {
	what:   "looks for a circle and begins to wait in two steps",
	caught: []string{"one of two simultaneous waits for each other fails"},
	with:   func(f *faulty) { f.sees(graph{depth: 9, slow: true}) },
}, {
	what:   "waits on when it has told of a deadlock",
	caught: []string{"a request that fails with a deadlock leaves the queue"},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if l, held := f.lock(req.Key); err != nil && ctx.Err() == nil && held {
				req.Holding = nil
				now, cancel := context.WithCancel(ctx)
				cancel()
				_, _ = detached(now, func(ctx context.Context) (stores.Grant, error) { return f.open().Lock(ctx, req) })
				for l.Waiters == 0 {
					runtime.Gosched()
					l, _ = f.lock(req.Key)
				}
			}
			return g, err
		}
	},
}, {
	what:   "sees no deadlock of who waits for several locks",
	caught: []string{"a cycle through several locks is a deadlock"},
	with: func(f *faulty) {
		f.blind(func(req stores.MultiRequest) bool { return len(req.Keys) > 1 })
	},
}, {
	what:   "sees no deadlock by the second of several locks",
	caught: []string{"each of several held locks can close a cycle"},
	with: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			for _, key := range req.Keys[1:] {
				f.notes.Store(key, true)
			}
			return f.Store.LockAll(ctx, req)
		}
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, second := f.notes.Load(req.Key); second {
				req.Holding = nil
			}
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	what:   "takes those who have an ancestor in common for one",
	caught: []string{"siblings may wait for each other"},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if family, known := f.notes.Load(f.holder(req.Key)); known && overlap(family.([]string), req.Holding) {
				return stores.Grant{}, fmt.Errorf("memory: lock %q: %w", req.Key, stores.ErrDeadlock)
			}
			f.notes.Store(req.Owner, req.Holding)
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	what:   "remembers who has given up waiting",
	caught: []string{"a canceled wait is not part of a cycle"},
	with:   func(f *faulty) { f.sees(graph{depth: 9, keepLeft: true}) },
}, {
	what:   "remembers who has been served",
	caught: []string{"a granted wait is not part of a cycle"},
	with:   func(f *faulty) { f.sees(graph{depth: 9, keepServed: true}) },
}, {
	what:   "takes all who wait for a holder that waits for a circle",
	caught: []string{"an owner without locks is not part of a cycle"},
	with: func(f *faulty) {
		f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, waits := f.notes.Load(f.holder(req.Key)); waits {
				return stores.Grant{}, fmt.Errorf("memory: lock %q: %w", req.Key, stores.ErrDeadlock)
			}
			f.notes.Store(req.Owner, true)
			defer f.notes.Delete(req.Owner)
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	what:   "sees a deadlock where nobody waits",
	caught: []string{"a request that does not wait is no deadlock"},
	with: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if slices.Contains(req.Holding, f.holder(req.Key)) {
				return stores.Grant{}, fmt.Errorf("memory: try lock %q: %w", req.Key, stores.ErrDeadlock)
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}}

// blind hides who holds what from some of the requests that would wait.
func (f *faulty) blind(to func(req stores.MultiRequest) bool) {
	f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		if to(stores.MultiRequest{Keys: []string{req.Key}}) {
			req.Holding = nil
		}
		return f.Store.Lock(ctx, req)
	}
	f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
		if to(req) {
			req.Holding = nil
		}
		return f.Store.LockAll(ctx, req)
	}
}

// graph says how a store looks for circles.
type graph struct {
	depth                int  // how many waits it follows
	keepLeft, keepServed bool // it does not forget those who left, or were served
	slow                 bool // it looks some time before it waits

	waits *sync.Map // owner to seen
}

// seen is a wait, and who held the lock when it began.
type seen struct {
	stores.Request
	holder string
}

// sees looks for circles in a graph of its own, and hides them from the sound store.
func (f *faulty) sees(g graph) {
	g.waits = f.notes
	f.wait = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		holder := f.holder(req.Key)
		if g.circle(holder, req.Holding, g.depth) {
			return stores.Grant{}, fmt.Errorf("memory: lock %q: %w", req.Key, stores.ErrDeadlock)
		}
		if g.slow {
			pause()
		}
		g.waits.Store(req.Owner, seen{req, holder})
		req.Holding = nil
		grant, err := f.Store.Lock(ctx, req)
		if err != nil && !g.keepLeft || err == nil && !g.keepServed {
			g.waits.Delete(req.Owner)
		}
		return grant, err
	}
}

// circle tells whether the holder is one of those in holding, or waits for one.
func (g graph) circle(holder string, holding []string, depth int) bool {
	if slices.Contains(holding, holder) {
		return true
	}
	if depth == 0 {
		return false
	}
	for _, wait := range g.waits.Range {
		w := wait.(seen)
		if slices.Contains(w.Holding, holder) && g.circle(w.holder, holding, depth-1) {
			return true
		}
	}
	return false
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
