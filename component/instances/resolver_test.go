package instances

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mortise-lock/mortise/stores"
)

func TestResolver(t *testing.T) {
	type opening struct{ by, name, a string }
	shop, files := "shop", ""
	for _, row := range []struct {
		name      string
		open      []opening
		component string // the name
		as        string // the caller; by default one that has opened nothing
		want      string // value of a, or part of an error
		is        error
	}{
		{name: "nothing is open", component: "c", want: `component "c"`, is: ErrNotInitialized},
		{name: "nothing is open, nothing named", is: ErrNotInitialized},
		{name: "by its name", open: []opening{{shop, "c", "1"}, {shop, "d", "2"}}, component: "d", want: "2"},
		{name: "by another name", open: []opening{{shop, "c", "1"}}, component: "d", want: `component "d"`, is: ErrNotInitialized},
		{name: "the only one, unnamed", open: []opening{{shop, "c", "1"}}, want: "1"},
		{name: "the only one, whose name is empty", open: []opening{{shop, "", "1"}}, want: "1"},
		{name: "one of two, unnamed", open: []opening{{shop, "d", "1"}, {shop, "c", "1"}}, want: `name must be one of ["c" "d"]`, is: ErrAmbiguous},
		{name: "what two callers have opened with equal metadata", open: []opening{{shop, "c", "1"}, {"office", "c", "1"}}, component: "c", want: "1"},
		{name: "what two callers have opened with different metadata", open: []opening{{shop, "c", "1"}, {"office", "c", "2"}}, component: "c", want: "different metadata", is: ErrAmbiguous},
		{name: "the same, unnamed", open: []opening{{shop, "c", "1"}, {"office", "c", "2"}}, is: ErrAmbiguous},
		{name: "a preloaded component takes precedence over those of callers", open: []opening{{shop, "c", "1"}, {files, "c", "2"}, {"office", "c", "3"}}, component: "c", want: "2"},
		{name: "the caller's own component takes precedence", open: []opening{{shop, "c", "1"}, {files, "c", "2"}}, as: shop, component: "c", want: "1"},
		{name: "a store that replaced another", open: []opening{{shop, "c", "1"}, {shop, "c", "2"}}, component: "c", want: "2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, _ := newSet()
			callers := map[string]*caller{files: s.preloaded, shop: newCaller(), "office": newCaller(), "client": newCaller()}
			for _, o := range row.open {
				if err := s.Open(callFrom(t, callers[o.by]), o.name, map[string]string{"a": o.a}); err != nil {
					t.Fatal(err)
				}
			}
			if row.as == "" {
				row.as = "client"
			}
			for call, do := range resolverCalls(s.Resolver()) {
				var got string
				err := do(callFrom(t, callers[row.as]), row.component, func(store stores.Store) error {
					got = stores.Unwrap(store).(*fakeStore).metadata["a"]
					return nil
				})
				if !errors.Is(err, row.is) {
					t.Errorf("%s: %v", call, err)
				}
				if err != nil {
					got = err.Error()
				}
				if !strings.Contains(got, row.want) {
					t.Errorf("%s: got %q, want %q", call, got, row.want)
				}
			}
			_ = s.Close()
		})
	}
}

// resolverCalls returns the methods that call a function with a component's store.
func resolverCalls(r Resolver) map[string]func(context.Context, string, func(stores.Store) error) error {
	return map[string]func(context.Context, string, func(stores.Store) error) error{
		"Do": r.Do,
		"Wait": func(ctx context.Context, name string, fn func(stores.Store) error) error {
			return r.Wait(ctx, name, func(_ context.Context, s stores.Store) error { return fn(s) })
		},
	}
}

func TestResolver_WaitEndsWithStore(t *testing.T) {
	for _, row := range []struct {
		name  string
		close func(t *testing.T, s *Set)
	}{
		{"when it is replaced", func(t *testing.T, s *Set) { open(t, s, "c", map[string]string{"a": "2"}) }},
		{"when waiting is ended", func(_ *testing.T, s *Set) { s.EndWaiting() }},
		{"when the set is closed", func(_ *testing.T, s *Set) { _ = s.Close() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newSet()
				open(t, s, "c", nil)
				old := current(t, s, "c")
				ended := make(chan error, 1)
				go func() {
					ended <- s.Resolver().Wait(t.Context(), "c", func(ctx context.Context, _ stores.Store) error {
						<-ctx.Done()
						if old.closed.Load() {
							t.Error("closed before the call has ended")
						}
						return fmt.Errorf("fake: %w", ctx.Err())
					})
				}()
				synctest.Wait()
				row.close(t, s)
				err := <-ended
				if !errors.Is(err, stores.ErrClosed) || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), `"c"`) {
					t.Errorf("the call ended with %v", err)
				}
				_ = s.Close()
			})
		})
	}
}

func TestResolver_WaitErrors(t *testing.T) {
	s, _ := newSet()
	open(t, s, "c", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wait := func(ctx context.Context) error {
		return s.Resolver().Wait(ctx, "c", func(ctx context.Context, _ stores.Store) error { return ctx.Err() })
	}
	if err := wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled call returns %v", err)
	}
	if err := wait(t.Context()); err != nil {
		t.Errorf("a successful call returns %v", err)
	}
	err := s.Resolver().Wait(t.Context(), "c", func(ctx context.Context, _ stores.Store) error {
		s.EndWaiting()
		<-ctx.Done()
		return stores.ErrNotHeld
	})
	if !errors.Is(err, stores.ErrNotHeld) {
		t.Errorf("a call with an outcome at the end returns %v", err)
	}
	if err := wait(t.Context()); !errors.Is(err, stores.ErrClosed) {
		t.Errorf("Wait after EndWaiting returns %v", err)
	}
	if err := s.Resolver().Do(t.Context(), "c", func(stores.Store) error { return nil }); err != nil {
		t.Errorf("Do after EndWaiting returns %v", err)
	}
	_ = s.Close()
}
