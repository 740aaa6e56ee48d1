// Package instances knows which store serves which Dapr component, and swaps stores under running calls.
package instances

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
)

// Header is the gRPC metadata key in which daprd tells the component's name with every call.
const Header = "x-component-instance"

// openTimeout bounds Open for a caller that set no deadline. It is daprd's own default for a component's initTimeout.
const openTimeout = 5 * time.Second

// ErrNotInitialized reports a call for a component that was not opened in this process. Open, and then repeat the call.
var ErrNotInitialized = errors.New("component is not initialized")

// Set is the open components by name. All methods are safe for concurrent use.
type Set struct {
	registry *stores.Registry
	log      logger.Logger

	mu      sync.RWMutex
	open    map[string]*instance
	opening map[string]chan struct{} // by name: holds one element while an Open is under way
	closed  bool
	retired sync.WaitGroup // instances that wait for their last call
}

// instance is a component's store and what it was opened from.
type instance struct {
	store    stores.Store
	metadata map[string]string
	calls    sync.WaitGroup // grows only under Set.mu while the instance is in Set.open
}

// New returns a set without components, which opens stores from registry.
func New(registry *stores.Registry, log logger.Logger) *Set {
	return &Set{registry: registry, log: log, open: map[string]*instance{}, opening: map[string]chan struct{}{}}
}

// Open opens the component. If it is open with equal metadata, nothing changes. If it is open with other metadata, the new
// store takes the old one's place once it is open, and the old one is closed after its last call; if the new one cannot be
// opened, the old one stays and the error is returned.
func (s *Set) Open(ctx context.Context, name string, metadata map[string]string) error {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	turn, err := s.turn(ctx, name)
	if err != nil {
		return err
	}
	defer func() { <-turn }()

	metadata = ours(metadata)
	if s.has(name, metadata) {
		return nil
	}
	log := s.log.WithFields(map[string]any{"instance": name})
	store, err := s.registry.Open(ctx, stores.Component{Name: name, Metadata: metadata, Log: log})
	if err != nil {
		log.Errorf("Component cannot be opened: %v", err)
		return fmt.Errorf("component %q: %w", name, err)
	}
	if err := s.swap(name, &instance{store: store, metadata: metadata}); err != nil {
		return errors.Join(err, store.Close())
	}
	log.Infof("Component is open, with %s", strings.Join(stores.Features(store), ", "))
	return nil
}

// Do calls fn with the component's store, which stays open until fn returns. It fails with ErrNotInitialized if the
// component is not open and with stores.ErrClosed after Close; fn's error is returned as it is.
func (s *Set) Do(name string, fn func(stores.Store) error) error {
	i, err := s.enter(name)
	if err != nil {
		return err
	}
	defer i.calls.Done()
	return fn(i.store)
}

// Close closes every store after its last call. Calls that come later fail.
func (s *Set) Close() error {
	s.mu.Lock()
	open := s.open
	s.open, s.closed = nil, true
	s.mu.Unlock()

	var errs []error
	for _, i := range open {
		errs = append(errs, i.close())
	}
	s.retired.Wait()
	return errors.Join(errs...)
}

func (s *Set) enter(name string) (*instance, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, stores.ErrClosed
	}
	i, ok := s.open[name]
	if !ok {
		return nil, fmt.Errorf("component %q: %w", name, ErrNotInitialized)
	}
	i.calls.Add(1)
	return i, nil
}

// turn waits until no other Open of the component is under way. The caller receives from the channel when it is done.
func (s *Set) turn(ctx context.Context, name string) (chan struct{}, error) {
	s.mu.Lock()
	turn, ok := s.opening[name]
	if !ok {
		turn = make(chan struct{}, 1)
		s.opening[name] = turn
	}
	s.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return turn, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("component %q: waiting for its other initialization: %w", name, ctx.Err())
	}
}

func (s *Set) has(name string, metadata map[string]string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := s.open[name]
	return ok && maps.Equal(i.metadata, metadata)
}

// swap puts the instance in the place of the one before, which is closed in the background when its calls are done.
func (s *Set) swap(name string, next *instance) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return stores.ErrClosed
	}
	if old, ok := s.open[name]; ok {
		s.retired.Go(func() {
			if err := old.close(); err != nil {
				s.log.Warnf("Component %q: the store that was replaced: %v", name, err)
			}
		})
	}
	s.open[name] = next
	return nil
}

func (i *instance) close() error {
	i.calls.Wait()
	return i.store.Close()
}

// ours is the metadata without what daprd alone uses, so that two apps which differ in nothing else share a store.
func ours(metadata map[string]string) map[string]string {
	kept := make(map[string]string, len(metadata))
	for key, value := range metadata {
		if !strings.EqualFold(key, "keyPrefix") {
			kept[key] = value
		}
	}
	return kept
}

func withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, openTimeout)
}
