package instances

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// Instance is one store of a component. It stays that store when the component's name
// means another one later, or means another one to other callers. Equal instances are the
// same store. When the store is replaced or is no longer used, calls fail with
// stores.ErrClosed. All methods are safe for concurrent use.
type Instance struct {
	set *Set
	*instance
}

// Name returns the name of the component.
func (o Instance) Name() string { return o.name }

// Metadata returns the metadata that the store was opened with. The caller must not
// change it.
func (o Instance) Metadata() map[string]string { return o.metadata }

// Do calls fn with the store as [Resolver.Do] does.
func (o Instance) Do(ctx context.Context, fn func(stores.Store) error) error {
	i, err := o.set.acquire(ctx, o.name, o.find)
	if err != nil {
		return err
	}
	defer i.calls.Done()
	return fn(i.store)
}

// Wait calls fn with the store as [Resolver.Wait] does.
func (o Instance) Wait(ctx context.Context, fn func(context.Context, stores.Store) error) error {
	i, err := o.set.acquire(ctx, o.name, o.find)
	if err != nil {
		return err
	}
	return i.wait(ctx, fn)
}

// find returns the instance, for every caller, if it is still open.
func (o Instance) find(_ *caller, name string) (*instance, error) {
	if !slices.Contains(o.set.open[name], o.instance) {
		return nil, o.closed()
	}
	return o.instance, nil
}

// wait calls fn with a ctx that ends when the instance is closing. The caller has counted
// a call on the instance, which wait ends.
func (i *instance) wait(ctx context.Context, fn func(context.Context, stores.Store) error) error {
	defer i.calls.Done()
	closed := i.closed()
	if i.closing.Err() != nil {
		return closed
	}
	ctx, cancel := context.WithCancelCause(stores.WithCaller(ctx))
	defer cancel(nil)
	defer context.AfterFunc(i.closing, func() { cancel(closed) })()
	err := fn(ctx, i.store)
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), closed) {
		return closed
	}
	return err
}

func (i *instance) closed() error { return fmt.Errorf("component %q: %w", i.name, stores.ErrClosed) }
