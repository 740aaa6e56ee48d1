package memory_test

import (
	"testing"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
	"github.com/mortise-lock/mortise/test/conformance"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Storage:  storage,
		Features: []string{"DECLARE", "FENCING", "LIST", "MULTI", "PING", "RENEW", "REVOKE", "WAIT", "WATCH"},
		MinTTL:   time.Millisecond,
		Bubble:   true,
	})
}

func storage(t testing.TB) func() stores.Store {
	backend := memory.NewProcess().Backend()
	return func() stores.Store {
		s, err := backend.Open(t.Context(), stores.Component{Name: "locks", Log: logger.NewLogger("test")})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}
