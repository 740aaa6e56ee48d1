package linearizability

import (
	"testing"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// memoryHarness runs the memory store in bubbles, where times are exact to the
// nanosecond.
func memoryHarness() Harness {
	return Harness{
		Storage: func(t testing.TB) Storage {
			open := newMemory(t)
			return Storage{Open: func() stores.Store { return open() }}
		},
		Seeds:      200,
		Operations: 300,
		Lease:      8 * time.Millisecond,
		Bubble:     true,
	}
}

// newMemory returns a function that opens clients of one new storage.
func newMemory(t testing.TB) func() *memory.Store {
	backend := memory.NewProcess().Backend()
	return func() *memory.Store {
		s, err := backend.Open(t.Context(), stores.Component{Name: "locks", Log: logger.NewLogger("test")})
		if err != nil {
			t.Fatal(err)
		}
		return s.(*memory.Store)
	}
}

func TestMemory(t *testing.T) { Run(t, memoryHarness()) }

func TestMemory_RealTime(t *testing.T) {
	h := memoryHarness()
	h.Bubble = false
	h.Seeds = 40
	h.Lease = 4 * time.Millisecond
	Run(t, h)
}
