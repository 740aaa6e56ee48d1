// Package datasource gives each nesting level of client.DoIsolated a connection pool of
// its own, so that the holder of a lock never waits for a database connection that a
// waiter for the lock has.
//
// In a pool of one connection, a caller begins a transaction, which uses the connection,
// and then waits for a lock; the holder of the lock waits for a connection: a deadlock.
// client.DoIsolated runs the holder one level above its caller, and each level of a data
// source has a separate pool. So this deadlock is impossible, however small the pools
// are.
//
// The level is a value of ctx. [Pools] opens the pool of a level at its first use, for
// any library: *sql.DB, *pgxpool.Pool, *gorm.DB. For database/sql, [InTx] and [Conn] also
// keep the transaction in ctx, by source and level: isolated code is outside its caller's
// transaction and commits separately.
package datasource

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Source is a data source at a level. The zero value is the default data source at the
// first level, outside of DoIsolated.
type Source struct {
	Name  string
	Level int
}

// String returns the name and, above the first level, the level: "main", "main:1".
func (s Source) String() string {
	if s.Level == 0 {
		return s.Name
	}
	return fmt.Sprintf("%s:%d", s.Name, s.Level)
}

type sourceKey struct{}

// With returns a ctx with the source.
func With(ctx context.Context, s Source) context.Context {
	return context.WithValue(ctx, sourceKey{}, s)
}

// From returns the source of ctx.
func From(ctx context.Context) Source {
	s, _ := ctx.Value(sourceKey{}).(Source)
	return s
}

// ErrClosed reports the use of pools after their Close.
var ErrClosed = errors.New("datasource: pools are closed")

// Pools has a pool of type P for each source. It is safe for concurrent use.
type Pools[P any] struct {
	open  func(Source) (P, error)
	close func(P) error

	mu     sync.Mutex
	pools  map[Source]P
	closed bool
}

// NewPools returns pools that open creates at their first use, and that close closes.
// Neither may use the Pools. For a database that supports only one pool, such as a file
// with one writer, open must return an error for higher levels.
func NewPools[P any](open func(Source) (P, error), close func(P) error) *Pools[P] {
	return &Pools[P]{open: open, close: close, pools: map[Source]P{}}
}

// At returns the pool of ctx's source. If open fails, the next At calls it again.
func (p *Pools[P]) At(ctx context.Context) (pool P, err error) {
	source := From(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return pool, ErrClosed
	}
	if pool, ok := p.pools[source]; ok {
		return pool, nil
	}
	if pool, err = p.open(source); err != nil {
		return pool, fmt.Errorf("datasource: open %q: %w", source, err)
	}
	p.pools[source] = pool
	return pool, nil
}

// Close closes every pool.
func (p *Pools[P]) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var errs []error
	for source, pool := range p.pools {
		delete(p.pools, source)
		if err := p.close(pool); err != nil {
			errs = append(errs, fmt.Errorf("datasource: close %q: %w", source, err))
		}
	}
	return errors.Join(errs...)
}
