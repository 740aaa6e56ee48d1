package history

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// forever is a moment after the end of every history.
const forever = time.Duration(math.MaxInt64)

// Rules are the contract with what a store declares about itself. The zero value is the contract at its strictest.
type Rules struct {
	// Unit is what the store's leases are rounded up to a multiple of; zero if they are not.
	Unit time.Duration

	// Slack is how much later than at the end of its lease a lock may still count as held.
	Slack time.Duration

	// Trouble is how long a call takes that may have met trouble with the storage: its request may have been sent twice,
	// and what a Lock has left behind may not have been cleared away. Shorter calls met none; zero says that no call ever
	// does.
	Trouble time.Duration

	// Linger is for how long after its return a Lock that met trouble may still hold the lock, or have a place in its
	// queue: the second of the contract, and a margin.
	Linger time.Duration
}

// step is an operation as the model takes it.
type step struct {
	*Operation
	locks  []int         // of the keys, in the state
	until  time.Duration // no effect is later: the return, or forever if the outcome is unknown
	after  int64         // the same in the order of all calls and returns
	queued bool          // somebody may have been waiting for one of the locks meanwhile
	repeat bool          // stands for a first request that was carried out and whose answer was lost
}

// String implements [fmt.Stringer].
func (s step) String() string {
	if s.repeat {
		return s.Operation.String() + " (sent before, perhaps)"
	}
	return s.Operation.String()
}

// lies returns what is wrong with an answer whatever the others were told.
func (r Rules) lies(op *Operation) error {
	latest := plus(op.Return, r.rounded(op.TTL))
	switch {
	case op.Outcome == Refused && (op.waits() || op.Kind == Renew):
		return fmt.Errorf("a %s without an error did not acquire", op.Kind)
	case op.Outcome != Granted:
		return nil
	case op.Token == 0:
		return fmt.Errorf("a grant has no token")
	case op.Expires > latest:
		return fmt.Errorf("a grant expires at %v, which may be later than its lease ends: at %v", op.Expires, latest)
	}
	return nil
}

func (r Rules) rounded(ttl time.Duration) time.Duration {
	if r.Unit == 0 {
		return ttl
	}
	return (ttl + r.Unit - 1) / r.Unit * r.Unit
}

// steps prepares operations that are related by their keys for the model.
func (r Rules) steps(ops []*Operation, keys []string) []step {
	var steps []step
	for _, op := range ops {
		s := step{Operation: op, until: op.Return, after: op.After, queued: r.mayQueue(op, ops)}
		for _, key := range op.Keys {
			s.locks = append(s.locks, slices.Index(keys, key))
		}
		if r.mayRepeat(op) {
			first := s
			first.repeat = true
			steps = append(steps, first)
		}
		if op.Outcome == Unknown {
			s.until, s.after = forever, math.MaxInt64
		}
		steps = append(steps, s)
	}
	return steps
}

// mayRepeat tells whether op's request may have been carried out once more than its outcome says.
func (r Rules) mayRepeat(op *Operation) bool {
	return r.troubled(op) && op.Kind != Look && op.Outcome != Unknown && op.Outcome != Cancelled
}

// troubled tells whether op may have met trouble with the storage: it took long, not counting what it meant to wait.
func (r Rules) troubled(op *Operation) bool {
	start := op.Call
	if op.waits() && op.Outcome == Cancelled {
		start = max(start, op.CtxEnd)
	}
	return r.Trouble > 0 && op.Return-start >= r.Trouble
}

// mayQueue tells whether op may have been refused because somebody waited for one of its locks.
func (r Rules) mayQueue(op *Operation, all []*Operation) bool {
	return op.Outcome == Refused && slices.ContainsFunc(all, func(w *Operation) bool {
		if w == op || !w.waits() || op.After < w.Before || !overlap(op.Keys, w.Keys) {
			return false
		}
		lingers := w.Outcome != Granted && r.troubled(w) && op.Call < w.Return+r.Linger
		return op.Before < w.After || lingers
	})
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(key string) bool { return slices.Contains(b, key) })
}

// plus adds moments and durations of which one may be forever.
func plus(a, b time.Duration) time.Duration {
	if a > forever-b {
		return forever
	}
	return a + b
}
