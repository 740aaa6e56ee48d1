package linearizability

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tally counts what callers were told, because histories in which nothing happens prove
// nothing. It is safe for concurrent use.
type tally struct {
	mu        sync.Mutex
	histories uint64
	ops       int
	told      map[string]int // by kind and outcome
}

func newTally() *tally { return &tally{told: map[string]int{}} }

func (t *tally) add(ops []Operation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.histories++
	t.ops += len(ops)
	for i := range ops {
		t.told[fmt.Sprintf("%s %s", ops[i].Kind, ops[i].Outcome)]++
	}
}

// usual are the outcomes that random calls of each kind have many times in some thousand
// operations.
var usual = map[Kind][]Outcome{
	TryLock: {Granted, Refused},
	Lock:    {Granted, Cancelled},
	LockAll: {Granted, Refused},
	Renew:   {Granted, NotHeld, NotOwner},
	Unlock:  {Freed, NotHeld, NotOwner},
	Revoke:  {Freed, NotHeld, NotOwner},
	Look:    {Seen},
}

// expect fails a test all of whose histories were made if an outcome is missing of a kind
// of operation that was asked for.
func (t *tally) expect(tb testing.TB, histories uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tb.Logf("%d histories of %d operations: %v", t.histories, t.ops, t)
	if t.histories < histories || t.ops < 5000 {
		return
	}
	for kind, outcomes := range usual {
		for _, outcome := range outcomes {
			if t.asked(kind) && t.told[fmt.Sprintf("%s %s", kind, outcome)] == 0 {
				tb.Errorf("no %s was ever %s", kind, outcome)
			}
		}
	}
}

func (t *tally) asked(kind Kind) bool {
	for name := range t.told {
		if strings.HasPrefix(name, string(kind)+" ") {
			return true
		}
	}
	return false
}

// String tells the counts, sorted by what they count.
func (t *tally) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(t.told)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, t.told[name]))
	}
	return strings.Join(parts, ", ")
}
