package instances

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
)

// fakeStore records its metadata and whether it is closed.
type fakeStore struct {
	stores.Store
	metadata map[string]string
	closed   atomic.Bool
}

func (s *fakeStore) Close() error {
	s.closed.Store(true)
	return nil
}

// fakeConfig has the metadata keys of the fake backend.
type fakeConfig struct {
	A string `mapstructure:"a"`
}

// newSet returns a set of fake stores and the number of stores that were opened. Opening
// a component with a: bad fails, and with a: slow it fails when ctx ends.
func newSet() (*Set, *atomic.Int64) {
	var opened atomic.Int64
	r := stores.NewRegistry("fake")
	r.Register("fake", stores.Backend{Config: &fakeConfig{}, Open: func(ctx context.Context, c stores.Component) (stores.Store, error) {
		switch c.Metadata["a"] {
		case "bad":
			return nil, errors.New("fake: cannot connect")
		case "slow":
			<-ctx.Done()
			return nil, ctx.Err()
		}
		opened.Add(1)
		return &fakeStore{metadata: c.Metadata}, nil
	}})
	return New(r, logger.NewLogger("test")), &opened
}

// open opens the component without a caller.
func open(t *testing.T, s *Set, name string, metadata map[string]string) {
	t.Helper()
	if err := s.Open(t.Context(), name, metadata); err != nil {
		t.Fatal(err)
	}
}

// current returns the preloaded store of the component.
func current(t *testing.T, s *Set, name string) *fakeStore {
	t.Helper()
	var store *fakeStore
	if err := s.Do(t.Context(), name, func(s stores.Store) error { store = stores.Unwrap(s).(*fakeStore); return nil }); err != nil {
		t.Fatal(err)
	}
	return store
}

func TestSet_DoBeforeOpen(t *testing.T) {
	s, _ := newSet()
	err := s.Do(t.Context(), "c", func(stores.Store) error { t.Error("called"); return nil })
	if !errors.Is(err, ErrNotInitialized) || !strings.Contains(err.Error(), `"c"`) {
		t.Errorf("got %v", err)
	}
}

func TestSet_OpenAgain(t *testing.T) {
	for _, row := range []struct {
		name     string
		metadata map[string]string
		reopened bool
	}{
		{"with equal metadata keeps the store", map[string]string{"a": "1"}, false},
		{"with another keyPrefix keeps the store", map[string]string{"a": "1", "KeyPrefix": "none"}, false},
		{"with another value replaces the store", map[string]string{"a": "2"}, true},
		{"with a value less replaces the store", nil, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, opened := newSet()
			open(t, s, "c", map[string]string{"a": "1"})
			before := current(t, s, "c")
			open(t, s, "c", row.metadata)
			after := current(t, s, "c")
			if (before != after) != row.reopened || (opened.Load() == 2) != row.reopened {
				t.Errorf("%d stores were opened", opened.Load())
			}
			if err := s.Close(); err != nil || !before.closed.Load() || !after.closed.Load() {
				t.Errorf("after Close: %v, %v, %v", err, before.closed.Load(), after.closed.Load())
			}
		})
	}
}

func TestSet_OpenFails(t *testing.T) {
	s, _ := newSet()
	open(t, s, "c", nil)
	before := current(t, s, "c")
	for _, bad := range []map[string]string{{"a": "bad"}, {"b": "unknown key"}, {"store": "none"}} {
		if err := s.Open(t.Context(), "c", bad); err == nil || !strings.Contains(err.Error(), `component "c"`) {
			t.Errorf("open with %v: %v", bad, err)
		}
	}
	if current(t, s, "c") != before || before.closed.Load() {
		t.Error("the store was replaced or closed")
	}
}

func TestSet_ReplacedStoreFinishesCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet()
		open(t, s, "c", nil)
		old := current(t, s, "c")
		finish := make(chan struct{})
		go func() { _ = s.Do(t.Context(), "c", func(stores.Store) error { <-finish; return nil }) }()
		synctest.Wait()
		open(t, s, "c", map[string]string{"a": "2"})
		synctest.Wait()
		if old.closed.Load() {
			t.Error("closed during a call")
		}
		close(finish)
		synctest.Wait()
		if !old.closed.Load() {
			t.Error("still open after its last call")
		}
		_ = s.Close()
	})
}

func TestSet_OpenTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet()
		start := time.Now()
		first := make(chan error, 1)
		go func() { first <- s.Open(context.Background(), "c", map[string]string{"a": "slow"}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(fromSidecar(t.Context()), time.Second)
		defer cancel()
		if err := s.Open(ctx, "c", nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 900*time.Millisecond {
			t.Errorf("Open that waits for a slow one: %v after %v", err, time.Since(start))
		}
		if err := s.Open(t.Context(), "other", nil); err != nil {
			t.Errorf("Open of another component: %v", err)
		}
		if err := <-first; !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != openTimeout {
			t.Errorf("the slow Open: %v after %v", err, time.Since(start))
		}
	})
}

func TestSet_Close(t *testing.T) {
	s, _ := newSet()
	open(t, s, "c", nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Do(t.Context(), "c", func(stores.Store) error { return nil }); !errors.Is(err, stores.ErrClosed) {
		t.Errorf("Do: %v", err)
	}
	if err := s.Open(t.Context(), "d", nil); !errors.Is(err, stores.ErrClosed) {
		t.Errorf("Open: %v", err)
	}
}

func TestSet_ConcurrentUse(t *testing.T) {
	s, opened := newSet()
	open(t, s, "c", nil)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 200 {
				err := s.Do(t.Context(), "c", func(store stores.Store) error {
					if stores.Unwrap(store).(*fakeStore).closed.Load() {
						t.Error("a call uses a closed store")
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
			for j := range 20 {
				if err := s.Open(t.Context(), "c", map[string]string{"a": string(rune('a' + i + j))}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := s.Close(); err != nil || opened.Load() < 2 {
		t.Errorf("%v after %d stores", err, opened.Load())
	}
}
