package linearizability

import (
	"math"
	"slices"
	"time"
)

// step is an operation as the model takes it.
type step struct {
	*Operation
	locks  []int         // of the keys, in the state
	until  time.Duration // the effect is not later: the return, or some time after it if the outcome is unknown
	after  int64         // the same in the order of all calls and returns
	repeat int           // not zero if this stands for a request that was carried out before, with its answer lost

	// What others may do meanwhile that is no step of its own.
	queued  bool     // somebody may wait for one of the locks
	passing []string // who may hold the lock for a moment that nobody is told of
	freeing []string // whose lock may be ended; an empty string is anybody's
}

// steps prepares operations that are tied together by their keys, in the order of their
// calls, for the model.
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
			s.meets(r, w)
		}
		if op.Outcome == Unknown {
			s.until, s.after = r.late(op, ops)
		}
		steps = append(steps, s)
		for n := range r.repeats(op) {
			if op.Kind == Renew && op.Outcome != Unknown {
				s.repeat = n + 1
				steps = append(steps, s)
			}
		}
	}
	return steps
}

// late returns when an operation whose outcome is unknown has had its effect, if ever.
func (r Rules) late(op *Operation, ops []*Operation) (until time.Duration, after int64) {
	until = plus(op.Return, r.Late)
	for _, next := range ops {
		if next.Call > until {
			return until, max(op.After, next.Before-1)
		}
	}
	return until, math.MaxInt64
}

// meets notes what w may do meanwhile.
func (s *step) meets(r Rules, w *Operation) {
	passes := r.mayPass(w, s.Operation)
	s.queued = s.queued || passes || r.mayQueue(w, s.Operation)
	if passes {
		s.passing = append(s.passing, w.Owner)
	}
	if r.mayFree(w, s.Operation) {
		s.freeing = append(s.freeing, w.Owner)
	}
}

// passes tells whether the lock may be held in passing by an owner who is right.
func (s step) passes(right func(owner string) bool) bool {
	return slices.ContainsFunc(s.passing, right)
}

// frees tells whether a lock of owner may be ended in passing.
func (s step) frees(owner string) bool {
	return slices.Contains(s.freeing, owner) || slices.Contains(s.freeing, "")
}

// String implements [fmt.Stringer].
func (s step) String() string {
	if s.repeat > 0 {
		return s.Operation.String() + " (carried out before, perhaps)"
	}
	return s.Operation.String()
}
