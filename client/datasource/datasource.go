// Package datasource keeps a database's connections apart by level, so that code which
// holds a lock never waits for a connection that is in the hands of somebody who waits
// for the lock.
//
// Think of a pool of one connection. A caller opens a transaction, which takes the
// connection, and then asks for a lock; the holder of the lock asks for a connection:
// both wait for ever. client.DoIsolated lets the holder run one level above its caller,
// and each level of a data source has a pool of its own. So however small the pools are,
// the circle cannot close.
//
// The level is a value of ctx. [Pools] opens the pool of a level when it is first asked
// for, whatever the library: *sql.DB, *pgxpool.Pool, *gorm.DB. For database/sql, [InTx]
// and [Conn] keep the transaction in ctx too, by source and level: code that is isolated
// is outside of its caller's transaction and commits on its own.
package datasource

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Source is a data source at a level. The zero value is the default data source, where no
// lock isolates.
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

// With returns a ctx that is at the source.
func With(ctx context.Context, s Source) context.Context {
	return context.WithValue(ctx, sourceKey{}, s)
}

// From returns the source that ctx is at.
func From(ctx context.Context) Source {
	s, _ := ctx.Value(sourceKey{}).(Source)
	return s
}

// ErrClosed reports the use of pools after their Close.
var ErrClosed = errors.New("datasource: pools are closed")

// Pools is a pool for each source, of whatever kind. It is safe for concurrent use.
type Pools[P any] struct {
	open  func(Source) (P, error)
	close func(P) error

	mu     sync.Mutex
	pools  map[Source]P
	closed bool
}

// NewPools returns pools that are made by open when they are first asked for, and ended
// by close. Neither may use the pools. A database that cannot have several, such as a
// file with one writer, is told by an open that returns an error for higher levels.
func NewPools[P any](open func(Source) (P, error), close func(P) error) *Pools[P] {
	return &Pools[P]{open: open, close: close, pools: map[Source]P{}}
}

// At returns the pool of the source that ctx is at. An open that fails is tried again the
// next time.
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
