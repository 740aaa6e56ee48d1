package instances

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/mortise-lock/mortise/stores"
)

// find returns the instance of component c for the caller.
func find(t *testing.T, s *Set, c *caller) Instance {
	t.Helper()
	i, err := s.Resolver().Find(callFrom(t, c), "c")
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestInstance(t *testing.T) {
	s, _ := newSet()
	shop, office, client := newCaller(), newCaller(), newCaller()
	openFrom(t, s, shop, "1")
	found := find(t, s, client)
	openFrom(t, s, office, "2") // from here on the name is ambiguous for the client
	if found != find(t, s, shop) || found == find(t, s, office) {
		t.Error("instances are not equal exactly if their stores are")
	}
	if found.Name() != "c" || found.Metadata()["a"] != "1" {
		t.Errorf("the instance is %q with metadata %v", found.Name(), found.Metadata())
	}
	for call, do := range instanceCalls(found) {
		err := do(callFrom(t, office), func(store stores.Store) error {
			if got := stores.Unwrap(store).(*fakeStore).metadata["a"]; got != "1" {
				t.Errorf("%s: gets the store with a: %s", call, got)
			}
			return errors.New("done")
		})
		if err == nil || err.Error() != "done" {
			t.Errorf("%s: %v", call, err)
		}
	}
	_ = s.Close()
}

func TestInstance_ClosedStore(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, s *Set, shop *caller){
		"when it is replaced":            func(t *testing.T, s *Set, shop *caller) { openFrom(t, s, shop, "2") },
		"when its sidecar disconnects":   func(_ *testing.T, s *Set, shop *caller) { s.disconnect(shop) },
		"when the set is closed":         func(_ *testing.T, s *Set, _ *caller) { _ = s.Close() },
		"when it is opened again":        func(t *testing.T, s *Set, shop *caller) { s.disconnect(shop); openFrom(t, s, newCaller(), "1") },
		"when another store replaces it": func(t *testing.T, s *Set, shop *caller) { openFrom(t, s, newCaller(), "2"); s.disconnect(shop) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newSet()
				shop := newCaller()
				openFrom(t, s, shop, "1")
				found := find(t, s, newCaller())
				waited := make(chan error, 1)
				go func() {
					waited <- found.Wait(t.Context(), func(ctx context.Context, _ stores.Store) error {
						<-ctx.Done()
						return ctx.Err()
					})
				}()
				synctest.Wait()
				end(t, s, shop)
				checkClosed(t, "the waiting call", <-waited)
				for call, do := range instanceCalls(found) {
					checkClosed(t, call, do(t.Context(), func(stores.Store) error { t.Error(call, "was called"); return nil }))
				}
				_ = s.Close()
			})
		})
	}
}

func TestInstance_EndWaiting(t *testing.T) {
	s, _ := newSet()
	open(t, s, "c", nil)
	found := find(t, s, s.preloaded)
	s.EndWaiting()
	checkClosed(t, "Wait", found.Wait(t.Context(), func(context.Context, stores.Store) error { return nil }))
	if err := found.Do(t.Context(), func(stores.Store) error { return nil }); err != nil {
		t.Errorf("Do: %v", err)
	}
	_ = s.Close()
}

// checkClosed checks that the error is ErrClosed and no context error.
func checkClosed(t *testing.T, call string, err error) {
	t.Helper()
	if !errors.Is(err, stores.ErrClosed) || errors.Is(err, context.Canceled) {
		t.Errorf("%s: %v", call, err)
	}
}

// instanceCalls returns the methods that call a function with an instance's store.
func instanceCalls(o Instance) map[string]func(context.Context, func(stores.Store) error) error {
	return map[string]func(context.Context, func(stores.Store) error) error{
		"Do": o.Do,
		"Wait": func(ctx context.Context, fn func(stores.Store) error) error {
			return o.Wait(ctx, func(_ context.Context, s stores.Store) error { return fn(s) })
		},
	}
}
