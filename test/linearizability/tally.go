package linearizability

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tally counts outcomes, because histories without the interesting ones prove nothing. It
// is safe for concurrent use.
type tally struct {
	mu        sync.Mutex
	histories uint64
	ops       int
	counts    map[string]int // by kind and outcome
}

func newTally() *tally { return &tally{counts: map[string]int{}} }

func (t *tally) add(ops []Operation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.histories++
	t.ops += len(ops)
	for i := range ops {
		t.counts[fmt.Sprintf("%s %s", ops[i].Kind, ops[i].Outcome)]++
	}
}

// expectedOutcomes lists the outcomes that random calls of each kind have many times in
// some thousand operations.
var expectedOutcomes = map[Kind][]Outcome{
	TryLock: {Granted, Refused},
	Lock:    {Granted, Canceled},
	LockAll: {Granted, Refused},
	Renew:   {Granted, NotHeld, NotOwner},
	Unlock:  {Freed, NotHeld, NotOwner},
	Revoke:  {Freed, NotHeld, NotOwner},
	Read:    {Seen},
}

// checkCoverage fails the test if all histories were made and an expected outcome of a
// kind of operation in them is missing.
func (t *tally) checkCoverage(tb testing.TB, histories uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tb.Logf("%d histories of %d operations: %v", t.histories, t.ops, t)
	if t.histories < histories || t.ops < 5000 {
		return
	}
	for kind, outcomes := range expectedOutcomes {
		for _, outcome := range outcomes {
			if t.requested(kind) && t.counts[fmt.Sprintf("%s %s", kind, outcome)] == 0 {
				tb.Errorf("%s must have the outcome %q at least once", kind, outcome)
			}
		}
	}
}

func (t *tally) requested(kind Kind) bool {
	for name := range t.counts {
		if strings.HasPrefix(name, string(kind)+" ") {
			return true
		}
	}
	return false
}

// String returns the counts, sorted by kind and outcome.
func (t *tally) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(t.counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, t.counts[name]))
	}
	return strings.Join(parts, ", ")
}
