package linearizability

import (
	"testing"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// inMemory is the memory store in bubbles: exact to the nanosecond.
func inMemory() Harness {
	return Harness{
		Storage: func(t testing.TB) Storage {
			open := newMemory(t)
			return Storage{Open: func() stores.Store { return open() }}
		},
		Seeds:  200,
		Each:   300,
		Lease:  8 * time.Millisecond,
		Bubble: true,
	}
}

// newMemory returns a function that opens clients of one new memory.
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

func TestMemoryKeepsTheContract(t *testing.T) { Run(t, inMemory()) }

func TestMemoryKeepsTheContractInRealTime(t *testing.T) {
	h := inMemory()
	h.Bubble = false
	h.Seeds = 40
	h.Lease = 4 * time.Millisecond
	Run(t, h)
}
