package linearizability

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

const (
	// callLimit is the timeout of each call, so that a store that hangs fails its history
	// and not the whole run.
	callLimit = 10 * time.Second

	// checkLimit is the time limit of the search for an order. It usually takes
	// milliseconds.
	checkLimit = 30 * time.Second

	// clients is the number of stores that the workers of one history share.
	clients = 2

	// seedsVariable names the environment variable with the number of histories that Run
	// makes. Without it, Run makes 3 of 10 of Harness.Seeds, and all of them if
	// allVariable names a variable that is set.
	seedsVariable = "MORTISE_HISTORY_SEEDS"
	allVariable   = "MORTISE_TEST_ALL"
)

// Storage is one storage. It may be shared with other histories, which have other keys.
type Storage struct {
	// Open opens another client. Run closes it.
	Open func() stores.Store

	// InjectFault causes one fault of the storage, and returns immediately. It may be
	// nil. Run calls it a few times in each history, at any time, after all clients are
	// open.
	InjectFault func()
}

// Harness creates storages and declares their rules.
type Harness struct {
	// Storage is called once for each history, inside its bubble if there is one. It
	// registers a t.Cleanup for what it starts.
	Storage func(t testing.TB) Storage

	Seeds      int // the number of histories that MORTISE_TEST_ALL=1 makes
	Operations int // the approximate number of operations in each

	// Lease is the scale of leases and of all other times. A call takes a small part of
	// it.
	Lease time.Duration

	Rules Rules

	// Bubble runs each history in a testing/synctest bubble, where waiting takes no time
	// and clocks are exact. It requires a storage within this process.
	Bubble bool
}

// Run makes a history from each of the seeds 1, 2, 3, ... in a subtest named for the
// seed, and checks it. The same seed makes the same operations; in a bubble they also
// happen at the same times, and only the order of simultaneous events may differ.
func Run(t *testing.T, h Harness) {
	counts := newTally()
	n := h.seeds(t)
	for seed := range n {
		t.Run(fmt.Sprintf("seed %d", seed+1), func(t *testing.T) {
			if !h.Bubble {
				t.Parallel()
			}
			ops := h.record(t, seed+1)
			counts.add(ops)
			report(t, h.Rules.Check(ops, checkLimit))
		})
	}
	if n < uint64(h.Seeds) {
		t.Run("remaining seeds", func(t *testing.T) {
			t.Skipf("seeds %d to %d run with %s=1", n+1, h.Seeds, allVariable)
		})
	}
	t.Cleanup(func() { counts.checkCoverage(t, n) })
}

// seeds returns the number of histories to make.
func (h Harness) seeds(t *testing.T) uint64 {
	text := os.Getenv(seedsVariable)
	switch {
	case text != "":
	case os.Getenv(allVariable) != "":
		return uint64(h.Seeds)
	default:
		return uint64(h.Seeds*3+9) / 10
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", seedsVariable, err)
	}
	return n
}

// report fails the test if err is not nil, and draws a violation.
func report(t *testing.T, err error) {
	if err == nil {
		return
	}
	t.Error(err)
	if v := (*Violation)(nil); errors.As(err, &v) {
		file := filepath.Join(t.ArtifactDir(), "history.html")
		t.Logf("with -artifacts, %s shows the history (%v)", file, v.Draw(file))
	}
}

// record makes one history.
func (h Harness) record(t *testing.T, seed uint64) (ops []Operation) {
	if !h.Bubble {
		return h.run(t, seed)
	}
	synctest.Test(t, func(t *testing.T) { ops = h.run(t, seed) })
	return ops
}

// run runs the workers of one history, and returns their operations.
func (h Harness) run(t *testing.T, seed uint64) []Operation {
	storage := h.Storage(t)
	var opened []stores.Store
	for range clients {
		s := storage.Open()
		defer s.Close()
		opened = append(opened, s)
	}
	p := newPlan(seed, h.Operations, h.Lease, stores.Features(opened[0]), t.Name()+"/")
	t.Log(p)
	recorder := NewRecorder()
	var workers, faults sync.WaitGroup
	for i := range p.owners {
		w := &worker{plan: p, id: i, rand: rand.New(rand.NewPCG(seed, uint64(i+1))), store: opened[i%clients], recorder: recorder}
		workers.Go(func() { w.run(t.Context()) })
	}
	ctx, cancel := context.WithCancel(t.Context())
	faults.Go(func() { p.injectFaults(ctx, storage.InjectFault) })
	workers.Wait()
	cancel()
	faults.Wait()
	return recorder.History()
}
