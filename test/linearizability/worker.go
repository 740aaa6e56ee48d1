package linearizability

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// maxFaults is the largest number of faults in one history. Each call whose outcome is
// unknown makes the search for an order much longer.
const maxFaults = 4

// worker is one caller. It makes one call after the other.
type worker struct {
	*plan
	id       int
	rand     *rand.Rand
	store    stores.Store
	recorder *Recorder
	held     []string // the keys of the locks that it was granted and has not released
}

// run makes the worker's calls.
func (w *worker) run(ctx context.Context) {
	for range w.opsPerWorker {
		time.Sleep(w.pause(w.rand))
		op := w.nextOperation(w.rand, w.id, w.held)
		w.updateHeld(w.do(ctx, op))
	}
}

func (w *worker) do(ctx context.Context, op Operation) Operation {
	ctx, cancel := context.WithTimeout(ctx, w.timeout(w.rand, &op))
	defer cancel()
	return w.recorder.Do(ctx, w.store, op)
}

// updateHeld updates the keys that the worker holds, as far as results show them.
func (w *worker) updateHeld(op Operation) {
	if op.Owner != w.owners[w.id] {
		return
	}
	switch op.Outcome {
	case Granted, Freed, NotHeld, NotOwner:
		w.held = slices.DeleteFunc(w.held, func(key string) bool { return slices.Contains(op.Keys, key) })
	}
	if op.Outcome == Granted {
		w.held = append(w.held, op.Keys...)
	}
}

// injectFaults injects faults at random intervals until ctx ends.
func (p *plan) injectFaults(ctx context.Context, inject func()) {
	if inject == nil {
		return
	}
	r := rand.New(rand.NewPCG(p.seed, 1<<32))
	for range maxFaults {
		select {
		case <-time.After(p.lease/2 + p.duration(r, 2*p.lease)):
			inject()
		case <-ctx.Done():
			return
		}
	}
}
