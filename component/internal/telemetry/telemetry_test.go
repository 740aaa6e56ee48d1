package telemetry

import (
	"testing"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
	"github.com/mortise-lock/mortise/test/conformance"
)

func TestTelemetry_Conformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Storage: func(t testing.TB) func() stores.Store {
			backend := memory.NewProcess().Backend()
			o := Telemetry{Metrics: newLockEventMetrics(), Tracing: newTracing(quiet)}
			return func() stores.Store {
				s, err := backend.Open(t.Context(), stores.Component{Name: "locks", Log: logger.NewLogger("test")})
				if err != nil {
					t.Fatal(err)
				}
				wrapped, release := o.Wrap("c", s)
				t.Cleanup(release)
				return wrapped
			}
		},
		Features: []string{"DECLARE", "FENCING", "LIST", "MULTI", "PING", "RENEW", "REVOKE", "WAIT", "WATCH"},
		MinTTL:   time.Millisecond,
		Bubble:   true,
	})
}

func TestTelemetry_Off(t *testing.T) {
	var off Telemetry
	s := minimalStore{}
	wrapped, release := off.Wrap("c", s)
	release()
	if wrapped != stores.Store(s) {
		t.Errorf("the store is wrapped: %T", wrapped)
	}
	if options := off.ServerOptions(); len(options) != 0 {
		t.Errorf("%d gRPC server options", len(options))
	}
	next := NewHealth(quiet)
	if off.Handler(RTM, next) != next {
		t.Error("the handler is wrapped")
	}
	withHealth := Telemetry{Health: next}
	wrapped, release = withHealth.Wrap("c", s)
	release()
	if wrapped != stores.Store(s) || len(withHealth.ServerOptions()) != 0 || withHealth.Handler(RTM, next) != next {
		t.Error("health alone wraps the store, the handler or the server")
	}
	off.Tracing.Close()
}
