package instances

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// ErrAmbiguous reports a call that could mean several components, or several stores of
// one.
var ErrAmbiguous = errors.New("several components could be meant")

// Resolver are the components of a set for clients that open none themselves.
//
// A sidecar's YAML says which store it means, and it opens that; so it must never be
// given somebody else's (see [Set]). A guest has only a name to say it with. It gets the
// store that everybody under that name uses, whoever has opened it, and nothing if there
// are several: a lock in the wrong store would exclude nobody. What resource files opened
// comes first, because it stays when sidecars come and go.
type Resolver struct{ set *Set }

// Resolver returns the set as guests see it.
func (s *Set) Resolver() Resolver { return Resolver{s} }

// Do calls fn with the component's store as [Set.Do] does. An empty name means the only
// component that is open. It fails with ErrAmbiguous if several stores could be meant.
func (g Resolver) Do(ctx context.Context, name string, fn func(stores.Store) error) error {
	i, err := g.set.acquire(ctx, name, g.set.resolve)
	if err != nil {
		return err
	}
	defer i.calls.Done()
	return fn(i.store)
}

// Wait is Do for calls that last: the ctx that fn gets ends, too, as soon as the store is
// to be closed. If fn fails because of that, Wait fails with stores.ErrClosed.
func (g Resolver) Wait(ctx context.Context, name string, fn func(context.Context, stores.Store) error) error {
	i, err := g.set.acquire(ctx, name, g.set.resolve)
	if err != nil {
		return err
	}
	return i.wait(ctx, fn)
}

// Find returns what Do would call fn with now. It fails as Do does.
func (g Resolver) Find(ctx context.Context, name string) (Instance, error) {
	i, err := g.set.acquire(ctx, name, g.set.resolve)
	if err != nil {
		return Instance{}, err
	}
	defer i.calls.Done()
	return Instance{g.set, i}, nil
}

// findForGuest returns what the caller has opened under the name, or what was opened by
// nobody, or what everybody else has.
func (s *Set) resolve(c *caller, name string) (*instance, error) {
	if name == "" && len(s.open) > 1 {
		return nil, fmt.Errorf("%w: name one of %q", ErrAmbiguous, slices.Sorted(maps.Keys(s.open)))
	}
	if name == "" {
		for only := range s.open {
			name = only
		}
	}
	if i := s.bound(c, name); i != nil {
		return i, nil
	}
	switch open := s.open[name]; len(open) {
	case 0:
		return nil, notInitialized(name)
	case 1:
		return open[0], nil
	default:
		return nil, fmt.Errorf("component %q: %w: it is open with different metadata", name, ErrAmbiguous)
	}
}
