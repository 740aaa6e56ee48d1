// Package memory keeps locks in this process. It is the default store and the reference
// implementation of the contract.
//
// Its locks and declarations are lost when the process ends. The holders do not learn of
// it, so a restarted process could grant their locks to other owners while they still
// rely on them. The metadata key restartGrace delays the first grant to prevent that.
// Tokens keep growing across a restart as long as the machine's wall clock is not set
// back, see [table].
package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/internal/inflight"
)

var (
	_ stores.Store       = (*Store)(nil)
	_ stores.Renewer     = (*Store)(nil)
	_ stores.Waiter      = (*Store)(nil)
	_ stores.MultiLocker = (*Store)(nil)
	_ stores.Revoker     = (*Store)(nil)
	_ stores.Lister      = (*Store)(nil)
	_ stores.Declarer    = (*Store)(nil)
	_ stores.Watcher     = (*Store)(nil)
	_ stores.Pinger      = (*Store)(nil)
)

// Process holds the tables of one process, one for each component name. A table outlives
// the stores that are opened on it, so locks survive when a component is initialized
// again.
type Process struct {
	start  time.Time
	mu     sync.Mutex
	tables map[string]*table
}

// NewProcess returns a process without locks. The restart grace begins with this call.
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
	return &Store{
		table: p.table(c.Name),
		from:  p.start.Add(config.RestartGrace),
		calls: inflight.New(),
	}, nil
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

// Store is one opened component. Stores of one [Process] that have the same component
// name share their locks.
type Store struct {
	table *table
	from  time.Time // the end of the restart grace; no lock is granted before it

	calls *inflight.Calls
}

// TryLock implements [stores.Store]. During the restart grace every lock counts as held.
func (s *Store) TryLock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	return do(ctx, s, "try lock", func() (stores.Grant, error) {
		all := singleRequest(&req, []string{req.Key})
		return s.table.take(&all, s.from)
	}, req.Key)
}

// Lock implements [stores.Waiter]. During the restart grace it waits.
func (s *Store) Lock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	return do(ctx, s, "lock", func() (stores.Grant, error) {
		all := singleRequest(&req, []string{req.Key})
		return s.lock(ctx, &all)
	}, req.Key)
}

// LockAll implements [stores.MultiLocker]. During the restart grace every lock counts as
// held.
func (s *Store) LockAll(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
	return do(ctx, s, "lock all", func() (stores.Grant, error) {
		all := request{MultiRequest: req}
		if req.Wait {
			return s.lock(ctx, &all)
		}
		return s.table.take(&all, s.from)
	}, req.Keys...)
}

func (s *Store) lock(ctx context.Context, req *request) (stores.Grant, error) {
	grant, w, err := s.table.takeOrJoin(req, s.from)
	if w != nil {
		return s.table.wait(ctx, w, s.calls.Closing())
	}
	return grant, err
}

// Unlock implements [stores.Store].
func (s *Store) Unlock(ctx context.Context, key, owner string) error {
	return s.do(ctx, "unlock", func() error { return s.table.unlock(key, owner) }, key)
}

// Renew implements [stores.Renewer].
func (s *Store) Renew(ctx context.Context, req stores.Request) (stores.Grant, error) {
	return do(ctx, s, "renew", func() (stores.Grant, error) { return s.table.renew(req) }, req.Key)
}

// Revoke implements [stores.Revoker].
func (s *Store) Revoke(ctx context.Context, key, owner string) error {
	return s.do(ctx, "revoke", func() error { return s.table.revoke(key, owner) }, key)
}

// List implements [stores.Lister]. It returns the locks of one moment; the numbers of
// waiters are counted a moment later.
func (s *Store) List(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
	return do(ctx, s, "list", func() ([]stores.LockInfo, error) { return s.table.list(prefix), nil }, prefix)
}

// Watch implements [stores.Watcher]. If handle calls Close, both block forever.
func (s *Store) Watch(ctx context.Context, prefix string, handle func(stores.Event) error) error {
	var handleErr error
	err := s.do(ctx, "watch", func() error {
		return s.table.watch(ctx, prefix, s.calls.Closing(), func(e stores.Event) error {
			handleErr = handle(e)
			return handleErr
		})
	}, prefix)
	if handleErr != nil {
		return handleErr
	}
	return err
}

// Ping implements [stores.Pinger].
func (s *Store) Ping(ctx context.Context) error {
	return s.do(ctx, "ping", func() error { return nil }, "")
}

// Close implements [stores.Store]. It ends the calls of s that wait or watch. The table
// and its locks remain in the process.
func (s *Store) Close() error {
	<-s.calls.Close()
	return nil
}

// do returns call's result, unless ctx has ended or the store is closed, and wraps its
// error.
func do[T any](ctx context.Context, s *Store, op string, call func() (T, error), keys ...string) (result T, err error) {
	if err = s.begin(ctx); err == nil {
		defer s.calls.Done()
		result, err = call()
	}
	if err != nil {
		// A clone, so that keys stays off the heap.
		quoted := strings.Trim(fmt.Sprintf("%q", slices.Clone(keys)), "[]")
		err = fmt.Errorf("memory: %s %s: %w", op, quoted, err)
	}
	return result, err
}

// do is the function do for calls without a result.
func (s *Store) do(ctx context.Context, op string, call func() error, keys ...string) error {
	_, err := do(ctx, s, op, func() (struct{}, error) { return struct{}{}, call() }, keys...)
	return err
}

// begin counts a call. The caller calls calls.Done when the call ends.
func (s *Store) begin(ctx context.Context) error {
	if err := s.calls.Begin(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		s.calls.Done()
		return err
	}
	return nil
}

// request asks a table for one or several locks.
type request struct {
	stores.MultiRequest
	group string // as in stores.Request; empty if there are several keys
}

// singleRequest converts req to a request for keys, which contains only req.Key.
func singleRequest(req *stores.Request, keys []string) request {
	return request{
		MultiRequest: stores.MultiRequest{
			Keys: keys, Owner: req.Owner, TTL: req.TTL, Metadata: req.Metadata, Holding: req.Holding,
		},
		group: req.Group,
	}
}
