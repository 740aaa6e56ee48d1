package linearizability

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// Recorder calls stores and records the results. It is safe for concurrent use.
type Recorder struct {
	start time.Time
	order atomic.Int64 // counts calls and returns

	mu  sync.Mutex
	ops []Operation
}

// NewRecorder returns a recorder whose clock starts now.
func NewRecorder() *Recorder { return &Recorder{start: time.Now()} }

// Do makes the call that op describes on a client, as op's worker, and returns op with
// its outcome. ctx has a deadline.
func (r *Recorder) Do(ctx context.Context, s stores.Store, op Operation) Operation {
	if end, ok := ctx.Deadline(); ok {
		op.CtxEnd = r.since(end)
	}
	op.Call, op.Before = r.now(), r.order.Add(1)
	g, err := op.call(ctx, s)
	op.Return, op.After = r.now(), r.order.Add(1)
	op.setOutcome(ctx, g, err)
	if op.Outcome == Granted {
		op.Expires = r.since(g.Expires)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
	return op
}

// History returns the recorded operations in the order of the calls.
func (r *Recorder) History() []Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	ops := slices.Clone(r.ops)
	slices.SortFunc(ops, func(a, b Operation) int { return int(a.Before - b.Before) })
	return ops
}

func (r *Recorder) now() time.Duration { return r.since(time.Now()) }

func (r *Recorder) since(t time.Time) time.Duration { return t.Sub(r.start) }
