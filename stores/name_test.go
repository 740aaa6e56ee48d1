package stores

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// openNamed opens s from a registry whose backend has the name "disk".
func openNamed(t *testing.T, s Store) Store {
	t.Helper()
	r := NewRegistry("disk")
	r.Register("disk", Backend{
		Config: &struct{}{},
		Open:   func(context.Context, Component) (Store, error) { return s, nil },
	})
	opened, err := r.Open(t.Context(), Component{})
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func TestNameOf(t *testing.T) {
	for _, row := range []struct {
		name  string
		store Store
		want  string
	}{
		{"a store that no registry opened", fullStore{}, "store"},
		{"its decorator", Observe(fullStore{}, &recordingObserver{}), "store"},
		{"a store that a registry opened", openNamed(t, fullStore{}), "disk"},
		{"its decorators", Observe(Observe(openNamed(t, fullStore{}), &recordingObserver{}), &recordingObserver{}), "disk"},
		{"a store that two registries opened", openNamed(t, openNamed(t, fullStore{})), "disk"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := NameOf(row.store); got != row.want {
				t.Errorf("NameOf returned %q, want %q", got, row.want)
			}
		})
	}
}

func TestRegistry_OpenKeepsAbilities(t *testing.T) {
	pinger := struct {
		Store
		Pinger
	}{minimalStore{}, fullStore{}}
	for _, s := range []Store{minimalStore{}, fullStore{}, pinger} {
		for _, opened := range []Store{openNamed(t, s), openNamed(t, openNamed(t, s)), Observe(openNamed(t, s), &recordingObserver{})} {
			if got, want := Features(opened), Features(s); !slices.Equal(got, want) {
				t.Errorf("features are %q, want %q", got, want)
			}
			if got := Unwrap(opened); got != s {
				t.Errorf("Unwrap returned %T, want %T", got, s)
			}
		}
	}
	if err := Ping(t.Context(), openNamed(t, pinger)); !sameError(err, errCalled) {
		t.Errorf("Ping returned %v, want %v", err, errCalled)
	}
	_, err := List(t.Context(), openNamed(t, pinger), "")
	if !errors.Is(err, ErrUnsupported) || err.Error() != "disk: list: unsupported operation" {
		t.Errorf("List returned %v, want it to name the store", err)
	}
}
