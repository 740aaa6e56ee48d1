package linearizability

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// forever is a time after the end of every history.
const forever = time.Duration(math.MaxInt64)

// Rules are the deviations from the contract that a store declares. The zero value is the
// strict contract.
type Rules struct {
	// Unit is the unit to whose multiples the store rounds leases up; zero if it does not
	// round.
	Unit time.Duration

	// Slack is how long after the end of its lease a lock may still count as held.
	Slack time.Duration

	// Handover declares that a waiter may hold the lock before it is notified. Other
	// calls may then see it as the holder; if the lock is revoked or expires, the waiter
	// keeps waiting and is granted the lock again with a larger token.
	Handover bool

	// RequestDelay is how long after a call failed its request may be in transit and take
	// effect.
	RequestDelay time.Duration

	// FaultDelay is the shortest duration, without an intended wait, of a call that a
	// fault of the storage may have affected. Zero declares that there are no faults.
	FaultDelay time.Duration

	// Retries is how often an affected call may have repeated its request, each time
	// after FaultDelay, and so may have been carried out more than once.
	Retries int

	// Linger is how long after its return an affected Lock may still hold the lock, or
	// wait in its queue: the second of the contract, and a margin.
	Linger time.Duration
}

// checkAnswer returns an error if the result is wrong whatever the results of other
// operations are.
func (r Rules) checkAnswer(op *Operation) error {
	latest := plus(op.Return, r.rounded(op.TTL))
	switch {
	case op.Outcome == Refused && (op.waits() || op.Kind == Renew):
		return fmt.Errorf("a %s must acquire or fail, got a refusal", op.Kind)
	case op.Outcome != Granted:
		return nil
	case op.Token == 0:
		return fmt.Errorf("a grant must have a token")
	case op.Expires > latest:
		return fmt.Errorf("a grant must not expire after the end of its lease, %v, got %v", latest, op.Expires)
	}
	return nil
}

func (r Rules) rounded(ttl time.Duration) time.Duration {
	if r.Unit == 0 || ttl%r.Unit == 0 {
		return ttl
	}
	return ttl + r.Unit - ttl%r.Unit
}

// mayHaveFaulted reports whether a fault of the storage may have affected op.
func (r Rules) mayHaveFaulted(op *Operation) bool {
	return r.FaultDelay > 0 && op.duration() >= r.FaultDelay
}

// retries returns how often op may have been carried out before the time that had its
// outcome.
func (r Rules) retries(op *Operation) int {
	if !r.mayHaveFaulted(op) {
		return 0
	}
	return int(min(op.duration()/r.FaultDelay, time.Duration(r.Retries)))
}

// mayQueue reports whether w may wait in the queue of a lock of op while op lasts.
func (r Rules) mayQueue(w, op *Operation) bool {
	return w.waits() && r.concurrent(w, op)
}

// mayHoldBriefly reports whether w's owner may hold a lock of op while op lasts by a
// grant that w does not return, or has not returned yet.
func (r Rules) mayHoldBriefly(w, op *Operation) bool {
	unreported := w.waits() && (w.Outcome != Granted || r.Handover)
	repeated := w.acquires() && r.retries(w) > 0
	return (unreported || repeated) && r.concurrent(w, op)
}

// mayFree reports whether w may free a lock of op while op lasts more often than its
// result shows. w may be op: when it is carried out again, the lock is free.
func (r Rules) mayFree(w, op *Operation) bool {
	return (w.Kind == Unlock || w.Kind == Revoke) && r.retries(w) > 0 && (w == op || r.concurrent(w, op))
}

// concurrent reports whether w, which was called before op returned, or an effect that
// outlasts it, overlaps op in time and in keys.
func (r Rules) concurrent(w, op *Operation) bool {
	if w == op || w.After < op.Before && op.Call >= r.effectsEnd(w) {
		return false
	}
	return overlap(w.Keys, op.Keys)
}

// effectsEnd returns when the effects that may outlast w, which has returned, have ended.
func (r Rules) effectsEnd(w *Operation) time.Duration {
	if w.waits() && (w.Outcome == Unknown || w.Outcome == Canceled && r.mayHaveFaulted(w)) {
		return w.Return + r.Linger
	}
	return 0
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(key string) bool { return slices.Contains(b, key) })
}

// plus adds times and durations of which one may be forever.
func plus(a, b time.Duration) time.Duration {
	if a > forever-b {
		return forever
	}
	return a + b
}
