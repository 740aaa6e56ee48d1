package telemetry

import (
	"context"
	"testing"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

var quiet = func() logger.Logger {
	log := logger.NewLogger("telemetry.test")
	log.SetOutputLevel(logger.FatalLevel)
	return log
}()

// newLockEventMetrics returns metrics that count lock events.
func newLockEventMetrics() *Metrics {
	m := NewMetrics("v1", NewHealth(quiet))
	m.CountLockEvents()
	return m
}

// openMemory opens a memory store with locks of its own.
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

// wrap wraps the store until the test ends, when the store is closed.
func wrap(t testing.TB, o Telemetry, component string, s stores.Store) stores.Store {
	t.Helper()
	wrapped, release := o.Wrap(component, s)
	t.Cleanup(func() {
		release()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return wrapped
}

// lock takes the lock for ann, or fails the test.
func lock(ctx context.Context, t testing.TB, s stores.Store, key string, ttl time.Duration) {
	t.Helper()
	grant, err := stores.TryLock(ctx, s, stores.Request{Key: key, Owner: "ann", TTL: ttl})
	if err != nil || !grant.Acquired {
		t.Fatalf("%q: %+v, %v", key, grant, err)
	}
}

// faultyStore is a store with the test's Ping and Watch.
type faultyStore struct {
	stores.Store
	ping  func(context.Context) error
	watch func(ctx context.Context, fn func(stores.Event) error) error
}

func (s *faultyStore) Close() error                   { return nil }
func (s *faultyStore) Ping(ctx context.Context) error { return s.ping(ctx) }
func (s *faultyStore) Watch(ctx context.Context, _ string, fn func(stores.Event) error) error {
	return s.watch(ctx, fn)
}

// pingOK is the Ping of a store whose storage answers.
func pingOK(context.Context) error { return nil }

// minimalStore is a store without optional methods.
type minimalStore struct{ stores.Store }

func (minimalStore) Close() error { return nil }
