// Package conformance is the store contract as executable rows: one suite that every
// store passes.
//
// A backend calls [Run] from its conformance_test.go with a [Harness], which opens its
// store and declares what may be expected of it. A row checks one rule of package stores
// in a storage of its own or under keys of its own, so that rows may run alone, in any
// order and at once. A failure prints the rule.
//
// The suite gives no false alarms: where a slow machine makes an observation worthless,
// the row lets it go. It may miss what happens rarely; run it under -race. The suite is
// tested itself: for each row conformance_test.go holds a broken store that this row must
// catch.
package conformance

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// Harness opens a store and declares facts about it. The suite holds the store to what is
// declared and guesses nothing.
type Harness struct {
	// Storage makes a storage ready, or finds one, and returns a function that opens
	// clients of it: each call another client of the same storage. Storage runs once for
	// each row, inside the row's bubble if there is one. It may be asked for a storage
	// that other rows use at the same time. What it started ends in t.Cleanup; the
	// clients are closed by the suite before that.
	Storage func(t testing.TB) (open func() stores.Store)

	// Features are the store's abilities, exactly as stores.Features tells them. Rows
	// about others do not run.
	Features []string

	// MinTTL is the shortest lease that the store honours, and the unit of leases:
	// shorter ones are rounded up to it, and others to no more than its next multiple.
	MinTTL time.Duration

	// Slack is how much later than at the end of its TTL a lock may be seen to be free.
	Slack time.Duration

	// Settle is how long a call that was given up may be at work after it has returned:
	// behind a connection a store hears of the end of a ctx later than the caller does.
	Settle time.Duration

	// UTF8 declares that keys and owners must be valid UTF-8. Without it they are any
	// bytes.
	UTF8 bool

	// Checked declares that arguments are looked at on the way to the store, as by a
	// disk.
	Checked bool

	// Bubble lets each row run in a testing/synctest bubble, where leases pass without
	// waiting. It needs a storage that lives in this process and reaches its clients
	// without a socket.
	Bubble bool
}

// Run runs each row as a subtest, one after the other in bubbles and otherwise in
// parallel.
func Run(t *testing.T, h Harness) {
	for _, r := range rows() {
		if !h.declares(r.needs) {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			if !h.Bubble {
				t.Parallel()
			}
			if err := r.run(t, h); err != nil {
				t.Errorf("%v\nrule: %s", err, r.rule)
			}
		})
	}
}

// row is one rule of the contract and a check of it.
type row struct {
	name      string           // says in a few words what the store does
	rule      string           // what the contract demands, printed when the check fails
	needs     []string         // what a harness must declare for the row to run
	check     func(f *fixture) // tells the bench what is wrong
	realClock bool             // the row needs the real clock, and does not wait: it never runs in a bubble
}

// What a row can need: the features that stores.Features tells, freedom in names, and a
// look at them.
const (
	needDeclare  = "DECLARE"
	needList     = "LIST"
	needMulti    = "MULTI"
	needPing     = "PING"
	needRenew    = "RENEW"
	needRevoke   = "REVOKE"
	needWait     = "WAIT"
	needWatch    = "WATCH"
	needAnyBytes = "any bytes" // declared by Harness.UTF8 being false
	needChecks   = "checks"    // declared by Harness.Checked
)

// needing returns the rows with more that they need.
func withNeeds(rows []row, needs ...string) []row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].needs = slices.Concat(rows[i].needs, needs)
	}
	return rows
}

// rows returns the suite. It is a slice and not a map, so that it runs and reads in the
// order of the contract.
func rows() []row {
	return slices.Concat(grantRows, unlockRows, clientRows, canceledRows, callRows, nameRows(), reservedRows, leaseRows, expiredRows,
		deadlineRows, tokenRows, raceRows, renewRows(), listRows(), metadataRows(), waitRows(), deadlockRows(), multiRows(),
		revokeRows(), declareRows(), watchRows())
}

func (h Harness) declares(needs []string) bool {
	return !slices.ContainsFunc(needs, func(need string) bool {
		switch need {
		case needAnyBytes:
			return h.UTF8
		case needChecks:
			return !h.Checked
		}
		return !slices.Contains(h.Features, need)
	})
}

// run checks one row against a fresh bench and returns what is wrong with the store.
func (r row) run(t *testing.T, h Harness) (err error) {
	if !h.Bubble || r.realClock {
		h.Bubble = false
		return r.runWith(newFixture(t, h))
	}
	synctest.Test(t, func(t *testing.T) { err = r.runWith(newFixture(t, h)) })
	return err
}

func (r row) runWith(f *fixture) error {
	r.check(f)
	return f.err()
}
