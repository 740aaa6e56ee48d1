package linearizability

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// maxSeeds is the number of histories one of which must show what a broken store does.
const maxSeeds = 40

// broken is a store that breaks the contract.
type broken struct {
	does    string          // completes "a store that ..."
	subtle  bool            // the deviation is smaller than what lenient rules allow
	install func(f *faulty) // replaces methods of a sound store
}

// harness returns the harness of the memory store, with the broken store in its place.
func (b broken) harness() Harness {
	h := memoryHarness()
	h.Storage = func(t testing.TB) Storage {
		open := newMemory(t)
		shared := &sharedState{openSeparate: func() *memory.Store { return newMemory(t)() }, values: map[string]any{}}
		return Storage{Open: func() stores.Store {
			f := &faulty{Store: open(), sharedState: shared}
			b.install(f)
			return f
		}}
	}
	return h
}

// TestCheck_BrokenStores also uses the lenient rules of Redis, which allow for its clock,
// its handover and its faults: they must catch almost as many stores as the exact rules.
func TestCheck_BrokenStores(t *testing.T) {
	redis := redisHarness(nil).Rules
	redis.RequestDelay = 0 // memory has no requests in transit
	faulted := redis
	faulted.FaultDelay = time.Nanosecond
	for _, b := range slices.Concat(brokenLeases, brokenOwners, brokenTokens, brokenWaits, brokenAnswers) {
		t.Run("a store that "+b.does, func(t *testing.T) {
			b.expectCaught(t, Rules{})
			if !b.subtle {
				b.expectCaught(t, redis)
				b.expectCaught(t, faulted)
			}
		})
	}
}

// expectCaught fails the test unless one of the histories violates the contract.
func (b broken) expectCaught(t *testing.T, rules Rules) {
	h := b.harness()
	h.Lease = 24 * time.Millisecond
	for seed := range uint64(maxSeeds) {
		err := rules.Check(h.record(t, seed+1), checkLimit)
		var v *Violation
		if errors.As(err, &v) {
			t.Logf("caught by seed %d: %v", seed+1, err)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("no violation found in %d histories", maxSeeds)
}
