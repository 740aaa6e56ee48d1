// Package conformance checks that a store meets the contract of package stores. Every
// store passes the same suite.
//
// A backend calls [Run] from its conformance_test.go with a [Harness], which opens the
// store and declares what the suite may expect of it. Each row checks one rule of package
// stores, in its own storage or under its own keys, so that rows can run alone, in any
// order and in parallel. A failure prints the rule.
//
// The suite gives no false alarms: a row ignores an observation that a slow machine makes
// meaningless. It may miss rare failures; run it under -race. The suite is tested too:
// for each row conformance_test.go has a broken store that the row must fail.
package conformance

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// Harness opens a store and declares facts about it. The suite checks what is declared
// and assumes nothing else.
type Harness struct {
	// Storage prepares or finds a storage and returns a function that opens clients; each
	// call opens another client of the same storage. Storage runs once for each row,
	// inside the row's bubble if there is one, and may return a storage that other rows
	// use at the same time. It registers its own clean-up with t.Cleanup; the suite
	// closes the clients before that.
	Storage func(t testing.TB) (open func() stores.Store)

	// Features are the store's abilities, exactly as stores.Features returns them. Rows
	// that need others are not run.
	Features []string

	// MinTTL is the shortest lease that the store honours, and the unit of leases: a
	// shorter TTL is rounded up to it, any other at most to its next multiple.
	MinTTL time.Duration

	// Slack is how long after the end of its TTL a lock may still appear to be held.
	Slack time.Duration

	// Settle is how long a canceled call may still have effects after it has returned. A
	// remote store notices the end of a ctx later than the caller does.
	Settle time.Duration

	// UTF8 declares that keys and owners must be valid UTF-8. Without it they are any
	// bytes.
	UTF8 bool

	// Checked declares that arguments are validated before they reach the store.
	Checked bool

	// Bubble runs each row in a testing/synctest bubble, where leases expire without
	// waiting. The storage must live in this process, and its clients must not use
	// sockets.
	Bubble bool

	// margin is how long a slow machine may delay a notification, 5 seconds if zero.
	margin time.Duration
}

// concurrentRows is how many rows sleep at the same time. Unlike parallel tests, their
// number does not depend on the processors, because they mostly wait for leases to end.
const concurrentRows = 8

// Run runs each row as a subtest. Outside of bubbles the rows that sleep run first,
// several at a time, so that those that load the machine do not delay them. All others
// are parallel tests.
func Run(t *testing.T, h Harness) {
	var group sync.WaitGroup
	slots := make(chan struct{}, concurrentRows)
	for _, r := range rows() {
		switch {
		case !h.declares(r.needs):
		case h.Bubble || r.realClock:
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r.report(t, h)
			})
		default:
			slots <- struct{}{}
			group.Go(func() {
				defer func() { <-slots }()
				t.Run(r.name, func(t *testing.T) { r.report(t, h) })
			})
		}
	}
	group.Wait()
}

// row is one rule of the contract with its check.
type row struct {
	name      string           // states in a few words what the store does
	rule      string           // what the contract requires, printed when the check fails
	needs     []string         // what a harness must declare for the row to run
	check     func(f *fixture) // records failures in the fixture
	realClock bool             // never runs in a bubble, and does not sleep
}

// The needs of rows: the features of stores.Features, arbitrary bytes in names, and
// validated arguments.
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

// withNeeds returns copies of the rows with more needs.
func withNeeds(rows []row, needs ...string) []row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].needs = slices.Concat(rows[i].needs, needs)
	}
	return rows
}

// rows returns the suite, in the order of the contract.
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

// report fails the test if the store breaks the rule.
func (r row) report(t *testing.T, h Harness) {
	if err := r.run(t, h); err != nil {
		t.Errorf("%v\nrule: %s", err, r.rule)
	}
}

// run checks one row with a fresh fixture and returns the first failure.
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
