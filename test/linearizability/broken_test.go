package linearizability

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// patience is how many histories a broken store is given to show itself.
const patience = 40

// broken is a store that breaks the contract.
type broken struct {
	what  string          // it does, after "a store that"
	finer bool            // it breaks the contract by less than some rules let pass
	with  func(f *faulty) // breaks it
}

// harness describes the broken store as if it were sound.
func (b broken) harness() Harness {
	h := inMemory()
	h.Storage = func(t testing.TB) Storage {
		open := newMemory(t)
		shared := &notes{another: func() *memory.Store { return newMemory(t)() }, kept: map[string]any{}}
		return Storage{Open: func() stores.Store {
			f := &faulty{Store: open(), notes: shared}
			b.with(f)
			return f
		}}
	}
	return h
}

// Rules that allow for Redis's clock, its handing over and its troubles let few broken
// stores pass that exact ones catch.
func TestEachBrokenStoreIsCaught(t *testing.T) {
	redis := inRedis(nil).Rules
	redis.Late = 0 // for a store in memory
	troubled := redis
	troubled.Trouble = time.Nanosecond
	for _, b := range slices.Concat(brokenLeases, brokenOwners, brokenTokens, brokenWaits, brokenAnswers) {
		t.Run("a store that "+b.what, func(t *testing.T) {
			b.isCaught(t, Rules{})
			if !b.finer {
				b.isCaught(t, redis)
				b.isCaught(t, troubled)
			}
		})
	}
}

// isCaught expects a history that shows what the store does wrong.
func (b broken) isCaught(t *testing.T, rules Rules) {
	h := b.harness()
	h.Lease = 24 * time.Millisecond
	for seed := range uint64(patience) {
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
	t.Errorf("it is not caught by %d histories", patience)
}
