package linearizability

import (
	"math"
	"slices"
	"time"
)

// step is an operation with what the model needs to know about concurrent ones.
type step struct {
	*Operation
	locks []int // indexes of the keys in the state

	// The latest effect: the return, or later if the outcome is unknown.
	until time.Duration
	after int64 // until, in the order of all calls and returns

	// Not zero for an earlier execution of a retried request, whose reply was lost.
	retry int

	// Effects of concurrent operations that have no step of their own.
	queued      bool     // a waiter may be in the queue of one of the locks
	briefOwners []string // owners that may hold the lock for a moment, unreported
	mayFree     []string // owners whose lock may be freed; "" means any owner
}

// steps converts the operations of a group, in the order of their calls, to steps of the
// model.
func (r Rules) steps(ops []*Operation, keys []string) []step {
	var steps []step
	for _, op := range ops {
		s := step{Operation: op, until: op.Return, after: op.After}
		for _, key := range op.Keys {
			s.locks = append(s.locks, slices.Index(keys, key))
		}
		for _, w := range ops {
			if w.Before > op.After {
				break
			}
			s.addConcurrent(r, w)
		}
		if op.Outcome == Unknown {
			s.until, s.after = r.effectBound(op, ops)
		}
		steps = append(steps, s)
		for n := range r.retries(op) {
			if op.Kind == Renew && op.Outcome != Unknown {
				s.retry = n + 1
				steps = append(steps, s)
			}
		}
	}
	return steps
}

// effectBound returns the latest effect of an operation whose outcome is unknown.
func (r Rules) effectBound(op *Operation, ops []*Operation) (until time.Duration, after int64) {
	until = plus(op.Return, r.RequestDelay)
	for _, next := range ops {
		if next.Call > until {
			return until, max(op.After, next.Before-1)
		}
	}
	return until, math.MaxInt64
}

// addConcurrent adds the effects that w may have while the step lasts.
func (s *step) addConcurrent(r Rules, w *Operation) {
	brief := r.mayHoldBriefly(w, s.Operation)
	s.queued = s.queued || brief || r.mayQueue(w, s.Operation)
	if brief {
		s.briefOwners = append(s.briefOwners, w.Owner)
	}
	if r.mayFree(w, s.Operation) {
		s.mayFree = append(s.mayFree, w.Owner)
	}
}

// briefHolder reports whether an owner that matches may hold the lock for a moment.
func (s step) briefHolder(match func(owner string) bool) bool {
	return slices.ContainsFunc(s.briefOwners, match)
}

// mayBeFreed reports whether a concurrent operation may free a lock of owner.
func (s step) mayBeFreed(owner string) bool {
	return slices.Contains(s.mayFree, owner) || slices.Contains(s.mayFree, "")
}

// String implements [fmt.Stringer].
func (s step) String() string {
	if s.retry > 0 {
		return s.Operation.String() + " (possible earlier execution)"
	}
	return s.Operation.String()
}
