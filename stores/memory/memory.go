// Package memory keeps locks in this process: the default store, and the reference the others are read against.
//
// Its locks are lost with the process. Those who held them cannot know, so a restarted process would let others in while
// they still work; restartGrace makes it wait first. Tokens go on growing across a restart as long as the machine's wall
// clock is not set back behind the restart, see [table].
package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

var (
	_ stores.Store   = (*Store)(nil)
	_ stores.Renewer = (*Store)(nil)
	_ stores.Lister  = (*Store)(nil)
	_ stores.Pinger  = (*Store)(nil)
)

// Process holds the tables of one process: one for each component name. A table outlives the stores that are opened on
// it, so locks survive a component that is initialized again.
type Process struct {
	start  time.Time
	mu     sync.Mutex
	tables map[string]*table
}

// NewProcess returns a process without locks. Restart grace counts from this call.
func NewProcess() *Process {
	return &Process{start: time.Now(), tables: map[string]*table{}}
}

// Backend describes the memory store for a registry.
func (p *Process) Backend() stores.Backend {
	return stores.Backend{Config: &Config{}, Open: p.open}
}

func (p *Process) open(_ context.Context, c stores.Component) (stores.Store, error) {
	config, err := parseConfig(c.Metadata)
	if err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	return &Store{table: p.table(c.Name), openFrom: p.start.Add(config.RestartGrace)}, nil
}

func (p *Process) table(component string) *table {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.tables[component]
	if !ok {
		t = newTable()
		p.tables[component] = t
	}
	return t
}

// Store is one opened component. Stores of one [Process] with the same component name share their locks.
type Store struct {
	table    *table
	openFrom time.Time // grants are refused before it

	mu     sync.RWMutex // held for reading by every call, so that Close waits for them
	closed bool
}

// TryLock implements [stores.Store]. During the restart grace every lock counts as held.
func (s *Store) TryLock(ctx context.Context, req stores.Request) (grant stores.Grant, err error) {
	err = s.do(ctx, "try lock", req.Key, func() error {
		if time.Now().Before(s.openFrom) {
			return nil
		}
		grant = s.table.take(req)
		return nil
	})
	return grant, err
}

// Unlock implements [stores.Store].
func (s *Store) Unlock(ctx context.Context, key, owner string) error {
	return s.do(ctx, "unlock", key, func() error { return s.table.free(key, owner) })
}

// Renew implements [stores.Renewer].
func (s *Store) Renew(ctx context.Context, req stores.Request) (grant stores.Grant, err error) {
	err = s.do(ctx, "renew", req.Key, func() error {
		grant, err = s.table.renew(req)
		return err
	})
	return grant, err
}

// List implements [stores.Lister]. It tells the locks of one moment.
func (s *Store) List(ctx context.Context, prefix string) (locks []stores.Lock, err error) {
	err = s.do(ctx, "list", prefix, func() error {
		locks = s.table.list(prefix)
		return nil
	})
	return locks, err
}

// Ping implements [stores.Pinger].
func (s *Store) Ping(ctx context.Context) error {
	return s.do(ctx, "ping", "", func() error { return nil })
}

// Close implements [stores.Store]. The table stays with the process.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// do runs one call, unless ctx has ended or the store is closed, and wraps its error.
func (s *Store) do(ctx context.Context, op, key string, call func() error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	err := ctx.Err()
	if err == nil && s.closed {
		err = stores.ErrClosed
	}
	if err == nil {
		err = call()
	}
	if err != nil {
		return fmt.Errorf("memory: %s %q: %w", op, key, err)
	}
	return nil
}
