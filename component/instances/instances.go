// Package instances maps component names to open stores, for each client, and replaces
// stores while calls are in progress.
package instances

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/mortise-lock/mortise/component/internal/keyprefix"
	"github.com/mortise-lock/mortise/stores"
)

// Header is the gRPC metadata key in which daprd sends the component's name with each
// call.
const Header = "x-component-instance"

// NameFromHeader returns the component's name in the metadata of the call of ctx, or "".
func NameFromHeader(ctx context.Context) string {
	if names := metadata.ValueFromIncomingContext(ctx, Header); len(names) > 0 {
		return names[0]
	}
	return ""
}

// openTimeout bounds Open for a caller without a deadline. It is daprd's default for a
// component's initTimeout.
const openTimeout = 5 * time.Second

// replyShare is the part of a remote caller's deadline, a tenth, that Open leaves for the
// response.
const replyShare = 10

// ErrNotInitialized reports a call for a component that is not open in this process. The
// client opens the component and repeats the call.
var ErrNotInitialized = errors.New("component is not initialized")

// Set is the open components. All methods are safe for concurrent use.
//
// Two sidecars may use one name for different components. So a caller (see
// [Set.Listener]) uses the store that it has opened itself, as long as it is connected. A
// caller that has not opened the component uses the one that was opened without a caller,
// from a resource file. Clients that do not open components use a [Resolver].
type Set struct {
	registry *stores.Registry
	log      logger.Logger
	wrappers []StoreWrapper

	mu        sync.RWMutex
	open      map[string][]*instance   // by name; metadata differs
	openLocks map[string]chan struct{} // by name; full while Open runs
	preloaded *caller                  // bound to what was opened without a caller
	closed    bool
	retiring  sync.WaitGroup // goroutines that close instances

	waitsEnd context.Context // ends the calls that wait
	endWaits context.CancelFunc

	// failing is nil unless OpenUnreachableLater was called.
	failing func(component string) (recovered func())
}

// A StoreWrapper returns the store to use instead of an opened store, which may be the
// same one, and a function that is called after the last call, before the store is
// closed. It must be safe for concurrent use.
type StoreWrapper func(component string, store stores.Store) (wrapped stores.Store, release func())

// instance is a store of a component, with the metadata that it was opened with.
type instance struct {
	name     string
	metadata map[string]string
	store    stores.Store   // nil while notOpen is not
	releases []func()       // of the wrappers, in their order
	opening  sync.WaitGroup // the goroutine that opens the store later
	calls    sync.WaitGroup // grows only under Set.mu while the instance is in Set.open

	notOpen *notOpenError // error of calls until the store is open; guarded by Set.mu
	callers int           // how many are bound to the instance; guarded by Set.mu

	closing      context.Context // ends when the instance starts to close; ends waits
	startClosing context.CancelFunc
}

// New returns a set without components, which opens stores from the registry. Each
// wrapper gets the store that the one before it has returned.
func New(registry *stores.Registry, log logger.Logger, wrappers ...StoreWrapper) *Set {
	s := &Set{
		registry:  registry,
		log:       log,
		wrappers:  wrappers,
		open:      map[string][]*instance{},
		openLocks: map[string]chan struct{}{},
		preloaded: newCaller(),
	}
	s.waitsEnd, s.endWaits = context.WithCancel(context.Background())
	return s
}

// newInstance returns an instance without a store.
func (s *Set) newInstance(name string, metadata map[string]string) *instance {
	i := &instance{name: name, metadata: metadata}
	i.closing, i.startClosing = context.WithCancel(s.waitsEnd)
	return i
}

// wrap applies the wrappers to the store. It returns the store to use and the functions
// to call before it is closed, in the order of the wrappers.
func (s *Set) wrap(i *instance, store stores.Store) (wrapped stores.Store, releases []func()) {
	s.logOf(i).Infof("Component is open, with %s", strings.Join(stores.Features(store), ", "))
	for _, wrap := range s.wrappers {
		var release func()
		store, release = wrap(i.name, store)
		releases = append(releases, release)
	}
	return store, releases
}

// Open opens the component for the caller of ctx. If it is open with equal metadata, the
// caller uses that store. A store that the caller used before, and that no other caller
// uses, is closed after its last call, once the new one is open. If Open fails, nothing
// changes.
func (s *Set) Open(ctx context.Context, name string, metadata map[string]string) error {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	lock, err := s.openLock(ctx, name)
	if err != nil {
		return err
	}
	defer func() { <-lock }()

	metadata = storeMetadata(metadata)
	if s.reuse(s.callerOf(ctx), name, metadata) {
		return nil
	}
	i := s.newInstance(name, metadata)
	if err := s.openFirst(ctx, i); err != nil {
		s.logOf(i).Errorf("Cannot open the component: %v", err)
		return fmt.Errorf("component %q: %w", name, err)
	}
	if err := s.add(s.callerOf(ctx), name, i); err != nil {
		return errors.Join(err, i.close())
	}
	return nil
}

// openFirst opens the store of an instance that is not in the set yet, or starts to
// retry.
func (s *Set) openFirst(ctx context.Context, i *instance) error {
	timeout := timeLeft(ctx)
	first := timeout
	if s.opensLater(ctx) {
		first = min(first, firstOpenTimeout)
	}
	store, err := s.openStore(ctx, i, first)
	if err == nil {
		i.store, i.releases = s.wrap(i, store)
	} else if s.opensLater(ctx) && isUnreachable(err) {
		s.openLater(i, timeout, err)
		err = nil
	}
	return err
}

// openStore opens the instance's store within the timeout.
func (s *Set) openStore(ctx context.Context, i *instance, timeout time.Duration) (stores.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.registry.Open(ctx, stores.Component{Name: i.name, Metadata: i.metadata, Log: s.logOf(i)})
}

// logOf returns the logger of an instance.
func (s *Set) logOf(i *instance) logger.Logger {
	return s.log.WithFields(map[string]any{"instance": i.name})
}

// Do calls fn with the component's store, which stays open until fn returns, and returns
// fn's error. It fails with ErrNotInitialized if the component is not open, and with
// stores.ErrClosed after Close.
func (s *Set) Do(ctx context.Context, name string, fn func(stores.Store) error) error {
	i, err := s.acquire(ctx, name, s.find)
	if err != nil {
		return err
	}
	defer i.calls.Done()
	return fn(i.store)
}

// Call calls fn with the component's store as Do does, and returns its result. s is a
// *Set or a [Resolver].
func Call[T any](ctx context.Context, s interface {
	Do(ctx context.Context, name string, fn func(stores.Store) error) error
}, name string, fn func(stores.Store) (T, error),
) (result T, err error) {
	err = s.Do(ctx, name, func(store stores.Store) (err error) {
		result, err = fn(store)
		return err
	})
	return result, err
}

// EndWaiting ends all current and future calls of [Resolver.Wait] and [Instance.Wait]
// with stores.ErrClosed. Other calls continue.
func (s *Set) EndWaiting() { s.endWaits() }

// Close ends the calls that wait and closes every store after its last call. Later calls
// fail.
func (s *Set) Close() error {
	s.EndWaiting()
	s.mu.Lock()
	open := s.open
	s.open, s.closed = nil, true
	s.mu.Unlock()

	var errs []error
	for _, instances := range open {
		for _, i := range instances {
			errs = append(errs, i.close())
		}
	}
	s.retiring.Wait()
	return errors.Join(errs...)
}

// acquire returns the instance that find returns for the caller of ctx, and counts a call
// on it. The instance stays open until that call is done.
func (s *Set) acquire(ctx context.Context, name string, find func(*caller, string) (*instance, error)) (*instance, error) {
	c := s.callerOf(ctx)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, stores.ErrClosed
	}
	i, err := find(c, name)
	if err != nil {
		return nil, err
	}
	if i.notOpen != nil {
		return nil, i.notOpen
	}
	i.calls.Add(1)
	return i, nil
}

// find returns the instance that the caller has opened, or else the preloaded one.
func (s *Set) find(c *caller, name string) (*instance, error) {
	if i := s.bound(c, name); i != nil {
		return i, nil
	}
	return nil, notInitialized(name)
}

// bound returns the caller's instance, or else the preloaded one, or nil.
func (s *Set) bound(c *caller, name string) *instance {
	if i := c.bound[name]; i != nil {
		return i
	}
	return s.preloaded.bound[name]
}

func notInitialized(name string) error {
	return fmt.Errorf("component %q: %w", name, ErrNotInitialized)
}

// openLock waits until no other Open of the component runs, or fails if ctx ends. The
// caller receives from the returned channel to release the lock.
func (s *Set) openLock(ctx context.Context, name string) (chan struct{}, error) {
	s.mu.Lock()
	lock, ok := s.openLocks[name]
	if !ok {
		lock = make(chan struct{}, 1)
		s.openLocks[name] = lock
	}
	s.mu.Unlock()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("component %q: %w", name, ctx.Err())
	}
	select {
	case lock <- struct{}{}:
		return lock, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("component %q: wait for another initialization: %w", name, ctx.Err())
	}
}

// reuse binds the caller to the instance with equal metadata. It returns false if there
// is none.
func (s *Set) reuse(c *caller, name string, metadata map[string]string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.open[name], func(i *instance) bool { return maps.Equal(i.metadata, metadata) })
	if at < 0 {
		return false
	}
	s.bind(c, name, s.open[name][at])
	return true
}

// add adds the instance to the set and binds the caller to it.
func (s *Set) add(c *caller, name string, i *instance) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return stores.ErrClosed
	}
	s.open[name] = append(s.open[name], i)
	s.bind(c, name, i)
	return nil
}

// bind binds the caller to the instance instead of the one that it had. It does not bind
// a caller that has disconnected.
func (s *Set) bind(c *caller, name string, i *instance) {
	if !c.disconnected {
		i.callers++
		c.unbind(name)
		c.bound[name] = i
	}
	s.retire(name)
}

// retire closes, in the background, the instances of that name without callers. The
// caller holds s.mu.
func (s *Set) retire(name string) {
	if s.closed {
		return // Close closes all instances
	}
	s.open[name] = slices.DeleteFunc(s.open[name], func(i *instance) bool {
		if i.callers > 0 {
			return false
		}
		s.retiring.Go(func() {
			if err := i.close(); err != nil {
				s.log.Warnf("Cannot close an unused store of component %q: %v", name, err)
			}
		})
		return true
	})
	if len(s.open[name]) == 0 {
		delete(s.open, name)
	}
}

// close ends the calls that wait and closes the store after the last call.
func (i *instance) close() error {
	i.startClosing()
	i.opening.Wait()
	i.calls.Wait()
	for _, release := range slices.Backward(i.releases) {
		release()
	}
	if i.store == nil {
		return nil
	}
	return i.store.Close()
}

// storeMetadata returns the metadata without keyPrefix, which only daprd uses, so that
// apps whose metadata differs in nothing else share a store.
func storeMetadata(metadata map[string]string) map[string]string {
	kept := make(map[string]string, len(metadata))
	for key, value := range metadata {
		if !keyprefix.Is(key) {
			kept[key] = value
		}
	}
	return kept
}

// withTimeout returns ctx with the deadline of Open: openTimeout if ctx has none, and for
// a remote caller one that is early enough for the response to arrive.
func withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(ctx, openTimeout)
	}
	if _, remote := peer.FromContext(ctx); remote {
		deadline = deadline.Add(-time.Until(deadline) / replyShare)
	}
	return context.WithDeadline(ctx, deadline)
}
