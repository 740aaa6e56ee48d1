package client

import (
	"context"
	"errors"

	"github.com/mortise-lock/mortise/client/datasource"
)

// Do acquires the lock as [Client.Lock] does, runs fn, releases the lock and returns the
// result of fn. fn's ctx ends when the lock is lost; [LeaseFrom] returns the lease that
// it carries.
//
// If the lock was lost while fn ran, or the release failed, Do returns that error, joined
// with fn's own, even if fn succeeded: test it with errors.Is. If fn panics, Do releases
// the lock and the panic continues.
func Do[T any](ctx context.Context, c *Client, resource string, fn func(ctx context.Context) (T, error), opts ...Option) (result T, err error) {
	lease, err := c.Lock(ctx, resource, opts...)
	if err != nil {
		return result, err
	}
	defer func() { err = joinErrors(err, lease.Unlock(ctx)) }()
	return fn(lease.Context())
}

// DoIsolated is [Do] for an fn that uses a database while its caller may have an open
// transaction. fn's ctx has the next data-source level: fn uses connections of a separate
// pool and is outside the caller's transaction; see package [datasource]. Otherwise
// callers that hold all connections and wait for the lock, and a holder that waits for a
// connection, would deadlock. The level starts after the lock is acquired, and the next
// holder sees what fn commits.
//
// [Level] and [DataSource] set the level and the source to start from, instead of those
// of ctx.
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

// joinErrors returns a single error unchanged, and joins two unless err wraps other.
func joinErrors(err, other error) error {
	switch {
	case other == nil || errors.Is(err, other):
		return err
	case err == nil:
		return other
	}
	return errors.Join(err, other)
}
