package linearizability

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// forever is a moment after the end of every history.
const forever = time.Duration(math.MaxInt64)

// Rules are the contract with what a store declares about itself. The zero value is the
// contract at its strictest.
type Rules struct {
	// Unit is what the store's leases are rounded up to a multiple of; zero if they are
	// not.
	Unit time.Duration

	// Slack is how much later than at the end of its lease a lock may still count as
	// held.
	Slack time.Duration

	// Handover declares that who waits is handed the lock before it is told. Others may
	// meet it as the holder then, and if they revoke the lock, or it expires, it waits on
	// and gets the lock again with a larger token.
	Handover bool

	// Late is for how long after a call failed its request may be on its way and have its
	// effect.
	Late time.Duration

	// Trouble is how long a call takes that may have met trouble with the storage, not
	// counting what it meant to wait. Shorter ones met none; zero says that no call ever
	// does.
	Trouble time.Duration

	// Repeats is how often a call that met trouble may have sent its request again, each
	// time after as long as Trouble, and so have been carried out more than once.
	Repeats int

	// Linger is for how long after its return a Lock that met trouble may still hold the
	// lock, or have a place in its queue: the second of the contract, and a margin.
	Linger time.Duration
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
	if r.Unit == 0 || ttl%r.Unit == 0 {
		return ttl
	}
	return ttl + r.Unit - ttl%r.Unit
}

// troubled tells whether op may have met trouble with the storage.
func (r Rules) troubled(op *Operation) bool { return r.Trouble > 0 && op.took() >= r.Trouble }

// repeats is how often op may have been carried out before it was carried out with its
// outcome.
func (r Rules) repeats(op *Operation) int {
	if !r.troubled(op) {
		return 0
	}
	return int(min(op.took()/r.Trouble, time.Duration(r.Repeats)))
}

// mayQueue tells whether w may be in the queue of a lock of op while op lasts.
func (r Rules) mayQueue(w, op *Operation) bool {
	return w.waits() && r.meet(w, op)
}

// mayPass tells whether w's owner may hold a lock of op while op lasts although w is not
// told so, or not yet, or was told so of another grant than this one.
func (r Rules) mayPass(w, op *Operation) bool {
	untold := w.waits() && (w.Outcome != Granted || r.Handover)
	again := w.takes() && r.repeats(w) > 0
	return (untold || again) && r.meet(w, op)
}

// mayFree tells whether w may end a lock of op while op lasts once more than it is told.
// It may be op itself: carried out again it hears that nobody holds the lock.
func (r Rules) mayFree(w, op *Operation) bool {
	return (w.Kind == Unlock || w.Kind == Revoke) && r.repeats(w) > 0 && (w == op || r.meet(w, op))
}

// meet tells whether w, which was called before op returned, or what it may leave behind
// for a while, is there while op lasts and has to do with its locks.
func (r Rules) meet(w, op *Operation) bool {
	if w == op || w.After < op.Before && op.Call >= r.gone(w) {
		return false
	}
	return overlap(w.Keys, op.Keys)
}

// gone is when what w, which has returned, may leave behind is gone.
func (r Rules) gone(w *Operation) time.Duration {
	if w.waits() && (w.Outcome == Unknown || w.Outcome == Cancelled && r.troubled(w)) {
		return w.Return + r.Linger
	}
	return 0
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
