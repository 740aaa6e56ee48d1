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
	// callLimit bounds each call, so that a store that hangs fails its history and not
	// the whole run.
	callLimit = 10 * time.Second

	// checkLimit bounds the search for an order. A usual one takes milliseconds.
	checkLimit = 30 * time.Second

	// clients is how many stores the workers of one history share.
	clients = 2

	// seedsVariable names the environment variable that says how many histories Run makes
	// instead of Harness.Seeds.
	seedsVariable = "MORTISE_HISTORY_SEEDS"
)

// Storage is one storage, fresh or shared with other histories, which have other keys.
type Storage struct {
	// Open opens another client. Run closes it.
	Open func() stores.Store

	// Trouble lets one thing go wrong with the storage, and returns at once. It may be
	// nil. It is called a few times in each history, at any moment, after all clients are
	// open.
	Trouble func()
}

// Harness makes storages and declares what may be expected of them.
type Harness struct {
	// Storage runs once for each history, inside its bubble if there is one. What it
	// started ends in t.Cleanup.
	Storage func(t testing.TB) Storage

	Seeds int           // how many histories there are
	Each  int           // about how many operations each has
	Lease time.Duration // the scale of the leases, and with them of all times; many times what a call takes
	Rules Rules

	// Bubble lets each history run in a testing/synctest bubble, where time passes at
	// once and clocks are exact. It needs a storage that lives in this process.
	Bubble bool
}

// Run makes a history from each of the seeds 1, 2, 3, ... as a subtest of this name and
// checks it. The same seed asks for the same operations; in a bubble they also happen at
// the same times, and only what happens in one instant may happen in another order.
func Run(t *testing.T, h Harness) {
	told := newTally()
	for seed := range h.seeds(t) {
		t.Run(fmt.Sprintf("seed %d", seed+1), func(t *testing.T) {
			if !h.Bubble {
				t.Parallel()
			}
			ops := h.record(t, seed+1)
			told.add(ops)
			report(t, h.Rules.Check(ops, checkLimit))
		})
	}
	t.Cleanup(func() { told.expect(t, h.seeds(t)) })
}

func (h Harness) seeds(t *testing.T) uint64 {
	text := os.Getenv(seedsVariable)
	if text == "" {
		return uint64(h.Seeds)
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", seedsVariable, err)
	}
	return n
}

// report fails the test if err is not nil, and draws what there is to see.
func report(t *testing.T, err error) {
	if err == nil {
		return
	}
	t.Error(err)
	if v := (*Violation)(nil); errors.As(err, &v) {
		file := filepath.Join(t.ArtifactDir(), "history.html")
		t.Logf("with -artifacts it is drawn in %s (%v)", file, v.Draw(file))
	}
}

// record makes one history.
func (h Harness) record(t *testing.T, seed uint64) (ops []Operation) {
	if !h.Bubble {
		return h.play(t, seed)
	}
	synctest.Test(t, func(t *testing.T) { ops = h.play(t, seed) })
	return ops
}

// play lets the workers of one history work, and returns what they were told.
func (h Harness) play(t *testing.T, seed uint64) []Operation {
	storage := h.Storage(t)
	var opened []stores.Store
	for range clients {
		s := storage.Open()
		defer s.Close()
		opened = append(opened, s)
	}
	p := newPlan(seed, h.Each, h.Lease, stores.Features(opened[0]), t.Name()+"/")
	t.Log(p)
	recorder := NewRecorder()
	var workers, troubles sync.WaitGroup
	for i := range p.owners {
		w := &worker{plan: p, id: i, rand: rand.New(rand.NewPCG(seed, uint64(i+1))), store: opened[i%clients], recorder: recorder}
		workers.Go(func() { w.work(t.Context()) })
	}
	ctx, over := context.WithCancel(t.Context())
	troubles.Go(func() { p.trouble(ctx, storage.Trouble) })
	workers.Wait()
	over()
	troubles.Wait()
	return recorder.History()
}
