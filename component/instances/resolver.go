package instances

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// ErrAmbiguous reports a call whose component name could mean several components, or
// several stores of one.
var ErrAmbiguous = errors.New("component is ambiguous")

// Resolver resolves component names for clients that do not open components.
//
// A sidecar opens the store that its YAML describes and must never get another one (see
// [Set]). Other clients have only a name. A Resolver returns the store that all callers
// use under that name, whichever of them opened it, and fails if there are several,
// because locks in different stores do not exclude each other. A component from a
// resource file takes precedence, because it stays when sidecars connect and disconnect.
type Resolver struct{ set *Set }

// Resolver returns the set's Resolver.
func (s *Set) Resolver() Resolver { return Resolver{s} }

// Do calls fn with the component's store as [Set.Do] does. An empty name means the only
// open component. Do fails with ErrAmbiguous if the name could mean several stores.
func (r Resolver) Do(ctx context.Context, name string, fn func(stores.Store) error) error {
	i, err := r.set.acquire(ctx, name, r.set.resolve)
	if err != nil {
		return err
	}
	defer i.calls.Done()
	return fn(i.store)
}

// Wait is Do for calls that wait: fn's ctx also ends when the store starts to close. If
// fn fails because of that, Wait fails with stores.ErrClosed.
func (r Resolver) Wait(ctx context.Context, name string, fn func(context.Context, stores.Store) error) error {
	i, err := r.set.acquire(ctx, name, r.set.resolve)
	if err != nil {
		return err
	}
	return i.wait(ctx, fn)
}

// Find returns the instance whose store Do would use now. It fails as Do does.
func (r Resolver) Find(ctx context.Context, name string) (Instance, error) {
	i, err := r.set.acquire(ctx, name, r.set.resolve)
	if err != nil {
		return Instance{}, err
	}
	defer i.calls.Done()
	return Instance{r.set, i}, nil
}

// resolve returns the instance of that name that the caller has opened, or else the one
// from a resource file, or else the only one of all other callers.
func (s *Set) resolve(c *caller, name string) (*instance, error) {
	if name == "" && len(s.open) > 1 {
		return nil, fmt.Errorf("%w: name must be one of %q", ErrAmbiguous, slices.Sorted(maps.Keys(s.open)))
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
