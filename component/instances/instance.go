package instances

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// Instance is one store of a component, for those who go on with the store that a guest
// has found, whatever the name means by then and to whom. Equal instances are the same
// store. When that is replaced, or nobody has it open any more, calls fail with
// stores.ErrClosed. All methods are safe for concurrent use.
type Instance struct {
	set *Set
	*instance
}

// Name returns the name of the component.
func (o Instance) Name() string { return o.name }

// Metadata returns what the store was opened from, which the caller does not change.
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

// findAgain returns the instance, whoever the caller is, if it is open.
func (o Instance) find(_ *caller, name string) (*instance, error) {
	if !slices.Contains(o.set.open[name], o.instance) {
		return nil, o.closed()
	}
	return o.instance, nil
}

// wait calls fn, with a call counted on the instance that ends with it.
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
