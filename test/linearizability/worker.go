package linearizability

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// troubles is how often at most there is trouble in one history. Calls whose outcome is
// unknown are what makes the search for an order long.
const troubles = 4

// worker is one caller: it makes one call after the other.
type worker struct {
	*plan
	id       int
	rand     *rand.Rand
	store    stores.Store
	recorder *Recorder
	holds    []string // the keys of the locks that it was granted and has not given back
}

// work does the worker's part of the plan.
func (w *worker) work(ctx context.Context) {
	for range w.each {
		time.Sleep(w.pause(w.rand))
		op := w.aim(w.rand, w.id, w.holds)
		w.note(w.do(ctx, op))
	}
}

func (w *worker) do(ctx context.Context, op Operation) Operation {
	ctx, cancel := context.WithTimeout(ctx, w.limit(w.rand, &op))
	defer cancel()
	return w.recorder.Do(ctx, w.store, op)
}

// note remembers what the worker holds, as well as it can know.
func (w *worker) note(op Operation) {
	if op.Owner != w.owners[w.id] {
		return
	}
	switch op.Outcome {
	case Granted, Freed, NotHeld, NotOwner:
		w.holds = slices.DeleteFunc(w.holds, func(key string) bool { return slices.Contains(op.Keys, key) })
	}
	if op.Outcome == Granted {
		w.holds = append(w.holds, op.Keys...)
	}
}

// trouble makes trouble now and then until ctx ends.
func (p *plan) trouble(ctx context.Context, make func()) {
	if make == nil {
		return
	}
	r := rand.New(rand.NewPCG(p.seed, 1<<32))
	for range troubles {
		select {
		case <-time.After(p.lease/2 + p.span(r, 2*p.lease)):
			make()
		case <-ctx.Done():
			return
		}
	}
}
