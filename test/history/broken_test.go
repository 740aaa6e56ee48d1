package history

import (
	"errors"
	"slices"
	"testing"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// patience is how many histories a broken store is given to show itself.
const patience = 40

// broken is a store that breaks the contract.
type broken struct {
	what string          // it does, after "a store that"
	with func(f *faulty) // breaks it
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

func TestEachBrokenStoreIsCaught(t *testing.T) {
	for _, b := range slices.Concat(brokenLeases, brokenOwners, brokenTokens, brokenWaits, brokenAnswers) {
		t.Run("a store that "+b.what, func(t *testing.T) {
			h := b.harness()
			for seed := range uint64(patience) {
				err := h.Rules.Check(h.record(t, seed+1), checkLimit)
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
		})
	}
}
