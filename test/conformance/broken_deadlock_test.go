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
	name:   "detects no deadlock",
	rows:   []string{"a wait for a lock in its own Holding is a deadlock", "a cycle through several locks is a deadlock"},
	inject: func(f *faulty) { f.dropHolding(func(stores.MultiRequest) bool { return true }) },
}, {
	name:   "detects only cycles of one owner",
	rows:   []string{"two owners that wait for each other are a deadlock"},
	inject: func(f *faulty) { f.detectCycles(waitGraph{depth: 0}) },
}, {
	name: "checks only the first owner in Holding",
	rows: []string{"a wait for a lock in its own Holding is a deadlock"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			req.Holding = req.Holding[:min(1, len(req.Holding))]
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	name:   "detects only cycles of two owners",
	rows:   []string{"three owners that wait in a cycle are a deadlock"},
	inject: func(f *faulty) { f.detectCycles(waitGraph{depth: 1}) },
}, {
	name:   "checks for a cycle and joins the queue in two steps",
	rows:   []string{"one of two simultaneous waits for each other fails"},
	inject: func(f *faulty) { f.detectCycles(waitGraph{depth: 9, slow: true}) },
}, {
	name: "keeps waiting after ErrDeadlock",
	rows: []string{"a request that fails with a deadlock leaves the queue"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Lock(ctx, req)
			if l, held := f.lookup(req.Key); err != nil && ctx.Err() == nil && held {
				req.Holding = nil
				now, cancel := context.WithCancel(ctx)
				cancel()
				_, _ = withoutCancel(now, func(ctx context.Context) (stores.Grant, error) { return f.open().Lock(ctx, req) })
				for l.Waiters == 0 {
					runtime.Gosched()
					l, _ = f.lookup(req.Key)
				}
			}
			return g, err
		}
	},
}, {
	name: "detects no deadlock in LockAll",
	rows: []string{"a cycle through several locks is a deadlock"},
	inject: func(f *faulty) {
		f.dropHolding(func(req stores.MultiRequest) bool { return len(req.Keys) > 1 })
	},
}, {
	name: "detects no deadlock through the second of several locks",
	rows: []string{"each of several held locks can close a cycle"},
	inject: func(f *faulty) {
		f.lockAll = func(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
			for _, key := range req.Keys[1:] {
				f.shared.Store(key, true)
			}
			return f.Store.LockAll(ctx, req)
		}
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, second := f.shared.Load(req.Key); second {
				req.Holding = nil
			}
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	name: "treats a common ancestor as a deadlock",
	rows: []string{"siblings may wait for each other"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if family, known := f.shared.Load(f.holder(req.Key)); known && haveCommon(family.([]string), req.Holding) {
				return stores.Grant{}, fmt.Errorf("memory: lock %q: %w", req.Key, stores.ErrDeadlock)
			}
			f.shared.Store(req.Owner, req.Holding)
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	name:   "keeps canceled waits in its graph",
	rows:   []string{"a canceled wait is not part of a cycle"},
	inject: func(f *faulty) { f.detectCycles(waitGraph{depth: 9, keepLeft: true}) },
}, {
	name:   "keeps granted waits in its graph",
	rows:   []string{"a granted wait is not part of a cycle"},
	inject: func(f *faulty) { f.detectCycles(waitGraph{depth: 9, keepServed: true}) },
}, {
	name: "treats every wait for a waiting holder as a cycle",
	rows: []string{"an owner without locks is not part of a cycle"},
	inject: func(f *faulty) {
		f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, waits := f.shared.Load(f.holder(req.Key)); waits {
				return stores.Grant{}, fmt.Errorf("memory: lock %q: %w", req.Key, stores.ErrDeadlock)
			}
			f.shared.Store(req.Owner, true)
			defer f.shared.Delete(req.Owner)
			return f.Store.Lock(ctx, req)
		}
	},
}, {
	name: "detects deadlocks in TryLock",
	rows: []string{"a request that does not wait is no deadlock"},
	inject: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if slices.Contains(req.Holding, f.holder(req.Key)) {
				return stores.Grant{}, fmt.Errorf("memory: try lock %q: %w", req.Key, stores.ErrDeadlock)
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}}

// dropHolding removes Holding from some of the waiting requests.
func (f *faulty) dropHolding(to func(req stores.MultiRequest) bool) {
	f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
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

// waitGraph describes how a store detects cycles.
type waitGraph struct {
	depth                int  // the number of waits that it follows
	keepLeft, keepServed bool // it keeps canceled or granted waits
	slow                 bool // it pauses between the check and the wait

	waits *sync.Map // owner to recordedWait
}

// recordedWait is a wait with the holder of the lock when it started.
type recordedWait struct {
	stores.Request
	holder string
}

// detectCycles detects cycles in a graph of its own and hides Holding from the memory
// store.
func (f *faulty) detectCycles(g waitGraph) {
	g.waits = f.shared
	f.lock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
		holder := f.holder(req.Key)
		if g.hasCycle(holder, req.Holding, g.depth) {
			return stores.Grant{}, fmt.Errorf("memory: lock %q: %w", req.Key, stores.ErrDeadlock)
		}
		if g.slow {
			pause()
		}
		g.waits.Store(req.Owner, recordedWait{req, holder})
		req.Holding = nil
		grant, err := f.Store.Lock(ctx, req)
		if err != nil && !g.keepLeft || err == nil && !g.keepServed {
			g.waits.Delete(req.Owner)
		}
		return grant, err
	}
}

// hasCycle reports whether the holder is in holding or waits for an owner in holding.
func (g waitGraph) hasCycle(holder string, holding []string, depth int) bool {
	if slices.Contains(holding, holder) {
		return true
	}
	if depth == 0 {
		return false
	}
	for _, wait := range g.waits.Range {
		w := wait.(recordedWait)
		if slices.Contains(w.Holding, holder) && g.hasCycle(w.holder, holding, depth-1) {
			return true
		}
	}
	return false
}

func haveCommon(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
