package client

import (
	"context"
	"errors"

	"github.com/mortise-lock/mortise/client/datasource"
)

// Do takes the lock as [Client.Lock] does, runs fn, gives the lock back and returns what
// fn returned. fn's ctx ends when the lock is lost, and [LeaseFrom] finds the lease in
// it.
//
// If the lock was lost while fn ran, or could not be given back, the error says so beside
// fn's own, though fn succeeded: test it with errors.Is. A panic in fn goes on after the
// lock was given back.
func Do[T any](ctx context.Context, c *Client, resource string, fn func(ctx context.Context) (T, error), opts ...Option) (result T, err error) {
	lease, err := c.Lock(ctx, resource, opts...)
	if err != nil {
		return result, err
	}
	defer func() { err = joinErrors(err, lease.Unlock(ctx)) }()
	return fn(lease.Context())
}

// DoIsolated is [Do] for an fn that uses a database while its caller may have a
// transaction open: fn's ctx has the next data-source level, so that it finds connections
// of a pool of its own, and is outside of the caller's transaction; see package
// [datasource]. Without that, callers that hold all connections and wait for the lock,
// and a holder that waits for a connection, would wait for each other. The level begins
// after the lock is taken, and what fn commits is seen by the next holder.
//
// [Level] and [DataSource] say where to start from instead of ctx.
func DoIsolated[T any](ctx context.Context, c *Client, resource string, fn func(ctx context.Context) (T, error), opts ...Option) (T, error) {
	s := c.settings.apply(ctx, opts)
	return Do(ctx, c, resource, func(ctx context.Context) (T, error) { return fn(s.isolate(ctx)) }, opts...)
}

// isolate moves ctx to the next data-source level.
func (s settings) isolate(ctx context.Context) context.Context {
	source := datasource.From(ctx)
	if s.source != nil {
		source.Name = *s.source
	}
	if s.level != nil {
		source.Level = *s.level
	}
	source.Level++
	return datasource.With(ctx, source)
}

// both returns the one error there is as it is, and joins two unless one says what the
// other does.
func joinErrors(err, other error) error {
	switch {
	case other == nil || errors.Is(err, other):
		return err
	case err == nil:
		return other
	}
	return errors.Join(err, other)
}
