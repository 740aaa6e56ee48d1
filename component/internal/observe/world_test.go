package observe

import (
	"context"
	"testing"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

var quiet = func() logger.Logger {
	log := logger.NewLogger("observe.test")
	log.SetOutputLevel(logger.FatalLevel)
	return log
}()

// openMemory opens a memory store of its own.
func openMemory(t testing.TB) stores.Store {
	t.Helper()
	registry := stores.NewRegistry("memory")
	registry.Register("memory", memory.NewProcess().Backend())
	s, err := registry.Open(t.Context(), stores.Component{Name: "locks", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// attend has the store observed until the test ends, when it is closed.
func attend(t testing.TB, o Telemetry, component string, s stores.Store) stores.Store {
	t.Helper()
	used, leave := o.Attend(component, s)
	t.Cleanup(func() {
		leave()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return used
}

// take takes the lock, or fails the test.
func take(t testing.TB, ctx context.Context, s stores.Store, key string, ttl time.Duration) { //nolint:revive // as tests do
	t.Helper()
	grant, err := stores.TryLock(ctx, s, stores.Request{Key: key, Owner: "ann", TTL: ttl})
	if err != nil || !grant.Acquired {
		t.Fatalf("%q: %+v, %v", key, grant, err)
	}
}

// sick is a store whose signs of life and watches are as the test says.
type sick struct {
	stores.Store
	ping  func(context.Context) error
	watch func(ctx context.Context, tell func(stores.Event) error) error
}

func (s *sick) Close() error                   { return nil }
func (s *sick) Ping(ctx context.Context) error { return s.ping(ctx) }
func (s *sick) Watch(ctx context.Context, _ string, tell func(stores.Event) error) error {
	return s.watch(ctx, tell)
}

// well is a storage that answers.
func well(context.Context) error { return nil }

// simple is a store without abilities.
type simple struct{ stores.Store }

func (simple) Close() error { return nil }
