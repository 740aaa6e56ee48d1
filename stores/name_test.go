package stores

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// openNamed opens s from a registry that knows its backend as "disk".
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
		{"a store that no registry opened", able{}, "store"},
		{"its decorator", Observe(able{}, &recorder{}), "store"},
		{"a store that a registry opened", openNamed(t, able{}), "disk"},
		{"its decorators", Observe(Observe(openNamed(t, able{}), &recorder{}), &recorder{}), "disk"},
		{"a store that two registries opened", openNamed(t, openNamed(t, able{})), "disk"},
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
	}{plain{}, able{}}
	for _, s := range []Store{plain{}, able{}, pinger} {
		for _, opened := range []Store{openNamed(t, s), openNamed(t, openNamed(t, s)), Observe(openNamed(t, s), &recorder{})} {
			if got, want := Features(opened), Features(s); !slices.Equal(got, want) {
				t.Errorf("features are %q, want %q", got, want)
			}
			if got := Unwrap(opened); got != s {
				t.Errorf("Unwrap returned %T, want %T", got, s)
			}
		}
	}
	if err := Ping(t.Context(), openNamed(t, pinger)); err != errAsked { //nolint:errorlint // the helper adds nothing
		t.Errorf("Ping returned %v, want %v", err, errAsked)
	}
	_, err := List(t.Context(), openNamed(t, pinger), "")
	if !errors.Is(err, ErrUnsupported) || err.Error() != "disk: list: unsupported operation" {
		t.Errorf("List returned %v, want it to name the store", err)
	}
}
