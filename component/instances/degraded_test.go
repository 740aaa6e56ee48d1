package instances

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dapr/kit/logger"
	"github.com/mortise-lock/mortise/component/internal/connid"

	"github.com/mortise-lock/mortise/stores"
)

// storage is the storage of fake stores. Opening a store fails with err unless that is
// nil.
type storage struct {
	mu  sync.Mutex
	err error
}

func (s *storage) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *storage) open(context.Context, stores.Component) (stores.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return &fakeStore{}, nil
}

// failures records the components that are reported as failing.
type failures struct {
	mu  sync.Mutex
	now map[string]int // by component; no value is 0
}

func (f *failures) failing(component string) (recovered func()) {
	f.add(component, 1)
	return func() { f.add(component, -1) }
}

func (f *failures) add(component string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now[component] += n; f.now[component] == 0 {
		delete(f.now, component)
	}
}

func (f *failures) list() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.now))
}

// newDegradedSet returns a set that opens components later, from the storage.
func newDegradedSet(t *testing.T, s *storage) (*Set, *failures) {
	t.Helper()
	r := stores.NewRegistry("fake")
	r.Register("fake", stores.Backend{Config: &fakeConfig{}, Open: s.open})
	set, f := New(r, logger.NewLogger("test")), &failures{now: map[string]int{}}
	set.OpenUnreachableLater(f.failing)
	return set, f
}

// fromSidecar returns the context of a call of a new sidecar.
func fromSidecar(ctx context.Context) context.Context {
	return connid.NewContext(ctx, newCaller())
}

// unreachableError returns the error of an unreachable storage.
func unreachableError(reason string) error {
	return fmt.Errorf("fake: %s: %w", reason, stores.ErrUnreachable)
}

func TestOpenUnreachableLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &storage{err: unreachableError("connection refused")}
		set, f := newDegradedSet(t, s)
		open(t, set, "c", nil)
		if got := f.list(); !slices.Equal(got, []string{"c"}) {
			t.Errorf("the failing components are %q", got)
		}
		checkNotOpen := func(cause string) {
			t.Helper()
			err := set.Do(t.Context(), "c", func(stores.Store) error { t.Error("called"); return nil })
			if !errors.Is(err, ErrNotOpen) || !errors.Is(err, stores.ErrUnreachable) ||
				!strings.HasPrefix(err.Error(), `component "c" is not open yet: fake: `+cause) {
				t.Errorf("got %v", err)
			}
		}
		checkNotOpen("connection refused")
		if err := set.Resolver().Do(t.Context(), "", func(stores.Store) error { return nil }); !errors.Is(err, ErrNotOpen) {
			t.Errorf("the only component with an empty name: %v", err)
		}

		s.set(unreachableError("no route to host"))
		advance(maxRetryInterval)
		checkNotOpen("no route to host")

		s.set(nil)
		advance(maxRetryInterval)
		if got := f.list(); len(got) != 0 {
			t.Errorf("after it was opened, the failing components are %q", got)
		}
		store := current(t, set, "c")
		if err := set.Close(); err != nil || !store.closed.Load() {
			t.Errorf("%v, closed: %v", err, store.closed.Load())
		}
	})
}

// advance sleeps in a bubble and waits until it is idle.
func advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestOpenUnreachableLater_RetriedErrors(t *testing.T) {
	expired := fmt.Errorf("fake: connect: %w", context.DeadlineExceeded)
	for _, row := range []struct {
		name  string
		err   error
		ctx   context.Context
		later bool
	}{
		{"unreachable", unreachableError("x"), t.Context(), true},
		{"silent", expired, t.Context(), true},
		{"refusing", fmt.Errorf("fake: WRONGPASS: %w", stores.ErrRefused), t.Context(), false},
		{"misconfigured", errors.New("metadata key a: is bad"), t.Context(), false},
		{"unreachable, for a sidecar", unreachableError("x"), fromSidecar(t.Context()), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			set, f := newDegradedSet(t, &storage{err: row.err})
			err := set.Open(row.ctx, "c", nil)
			if later := err == nil; later != row.later || later != (len(f.list()) == 1) {
				t.Errorf("got %v, the failing components are %q", err, f.list())
			}
			if err := set.Close(); err != nil {
				t.Error(err)
			}
			if got := f.list(); len(got) != 0 {
				t.Errorf("after Close, the failing components are %q", got)
			}
		})
	}
}

func TestOpenUnreachableLater_Sidecar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &storage{err: unreachableError("x")}
		set, _ := newDegradedSet(t, s)
		open(t, set, "c", map[string]string{"a": "1"})
		ctx := fromSidecar(t.Context())
		if err := set.Open(ctx, "c", map[string]string{"a": "1", "keyPrefix": "none"}); err != nil {
			t.Errorf("equal metadata: %v", err)
		}
		if err := set.Open(ctx, "c", map[string]string{"a": "2"}); !errors.Is(err, stores.ErrUnreachable) {
			t.Errorf("other metadata: %v", err)
		}
		s.set(nil)
		advance(maxRetryInterval)
		if err := set.Do(ctx, "c", func(stores.Store) error { return nil }); err != nil {
			t.Error(err)
		}
		_ = set.Close()
	})
}

// TestNotOpenError checks that a deadline of the attempt to open the store is not
// reported as one of the call.
func TestNotOpenError(t *testing.T) {
	err := error(&notOpenError{"c", fmt.Errorf("fake: %w: %w", stores.ErrUnreachable, context.DeadlineExceeded)})
	if errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, stores.ErrUnreachable) {
		t.Errorf("it is a deadline: %v; it is unreachable: %v",
			errors.Is(err, context.DeadlineExceeded), errors.Is(err, stores.ErrUnreachable))
	}
}

func TestSet_OpenDeadline(t *testing.T) {
	const share = openTimeout / replyShare
	for _, row := range []struct {
		name    string
		given   time.Duration // 0: none
		remote  bool
		allowed time.Duration
	}{
		{"none", 0, false, openTimeout},
		{"shorter than the default", time.Second, false, time.Second},
		{"longer than the default", time.Minute, false, time.Minute},
		{"of a sidecar, which leaves time for the answer", openTimeout, true, openTimeout - share},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set, _ := newSet()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if row.given > 0 {
					ctx, cancel = context.WithTimeout(ctx, row.given)
					defer cancel()
				}
				if row.remote {
					ctx = fromSidecar(ctx)
				}
				began := time.Now()
				err := set.Open(ctx, "c", map[string]string{"a": "slow"})
				if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != row.allowed {
					t.Errorf("took %v, want %v: %v", took, row.allowed, err)
				}
			})
		})
	}
}

func TestSet_OpenAfterDeadline(t *testing.T) {
	set, opened := newSet()
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if err := set.Open(ctx, "c", nil); !errors.Is(err, context.DeadlineExceeded) || opened.Load() != 0 {
		t.Errorf("got %v, %d are open", err, opened.Load())
	}
}
