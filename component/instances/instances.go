// Package instances knows which store serves which Dapr component, and swaps stores under
// running calls.
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
	"google.golang.org/grpc/peer"

	"github.com/mortise-lock/mortise/stores"
)

// Header is the gRPC metadata key in which daprd tells the component's name with every
// call.
const Header = "x-component-instance"

// openTimeout bounds Open for a caller that set no deadline. It is daprd's own default
// for a component's initTimeout.
const openTimeout = 5 * time.Second

// answerShare is the part of a caller's deadline, one in so many, that Open leaves for
// telling why it has failed.
const replyShare = 10

// ErrNotInitialized reports a call for a component that was not opened in this process.
// Open, and then repeat the call.
var ErrNotInitialized = errors.New("component is not initialized")

// Set is the open components by name. All methods are safe for concurrent use.
//
// Two sidecars may call different components by one name. So what a caller (see
// [Listener]) has opened is what it gets, as long as it is connected. A caller that has
// opened nothing gets what was opened by no caller, from resource files. Clients that
// never open anything see the set as [Resolver].
type Set struct {
	registry *stores.Registry
	log      logger.Logger
	wrappers []StoreWrapper

	mu        sync.RWMutex
	open      map[string][]*instance   // by name, each with other metadata
	openLocks map[string]chan struct{} // by name: holds one element while an Open is under way
	preloaded *caller                  // has bound what was opened by no caller
	closed    bool
	retiring  sync.WaitGroup // instances that wait for their last call

	waitsEnd context.Context // ends when calls shall wait no longer
	endWaits context.CancelFunc

	failing func(component string) (recovered func()) // nil unless OpenUnreachableLater was called
}

// A StoreWrapper looks after a store from when it is opened until it is closed. It
// returns the store to be used in its place, which may be the same, and what is called
// when nobody uses that any more, before it is closed. Calls may come at once.
type StoreWrapper func(component string, store stores.Store) (used stores.Store, leave func())

// instance is a component's store and what it was opened from.
type instance struct {
	name         string
	store        stores.Store // nil while notOpen is not
	metadata     map[string]string
	releases     []func()        // of its attendants, in their order
	notOpen      *notOpenError   // why calls fail until the store is open; guarded by Set.mu
	opening      sync.WaitGroup  // the goroutine that opens the store later
	callers      int             // how many have it bound; guarded by Set.mu
	calls        sync.WaitGroup  // grows only under Set.mu while the instance is in Set.open
	closing      context.Context // ends when the store is to be closed: calls that wait then leave
	startClosing context.CancelFunc
}

// New returns a set without components, which opens stores from registry. Each of the
// attendants gets what the one before it has returned.
func New(registry *stores.Registry, log logger.Logger, attendants ...StoreWrapper) *Set {
	s := &Set{
		registry:  registry,
		log:       log,
		wrappers:  attendants,
		open:      map[string][]*instance{},
		openLocks: map[string]chan struct{}{},
		preloaded: newCaller(nil),
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

// attend lets the attendants have the store, and returns what is to be used in its place.
func (s *Set) wrap(i *instance, store stores.Store) (used stores.Store, unattend []func()) {
	s.logOf(i).Infof("Component is open, with %s", strings.Join(stores.Features(store), ", "))
	for _, attend := range s.wrappers {
		var leave func()
		store, leave = attend(i.name, store)
		unattend = append(unattend, leave)
	}
	return store, unattend
}

// Open opens the component for the caller of ctx. If it is open with equal metadata, that
// store is used. A store that it was opened with before, and that nobody else has opened,
// is closed after its last call, once the new one is open. If the new one cannot be
// opened, everything stays and the error is returned.
func (s *Set) Open(ctx context.Context, name string, metadata map[string]string) error {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	turn, err := s.openLock(ctx, name)
	if err != nil {
		return err
	}
	defer func() { <-turn }()

	metadata = storeMetadata(metadata)
	if s.reuse(s.callerOf(ctx), name, metadata) {
		return nil
	}
	i := s.newInstance(name, metadata)
	if err := s.openFirst(ctx, i); err != nil {
		s.logOf(i).Errorf("Component cannot be opened: %v", err)
		return fmt.Errorf("component %q: %w", name, err)
	}
	if err := s.add(s.callerOf(ctx), name, i); err != nil {
		return errors.Join(err, i.close())
	}
	return nil
}

// openFirst opens the store of an instance that is not in the set yet, or begins to try.
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

// openStore opens the instance's store within the time.
func (s *Set) openStore(ctx context.Context, i *instance, within time.Duration) (stores.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return s.registry.Open(ctx, stores.Component{Name: i.name, Metadata: i.metadata, Log: s.logOf(i)})
}

func (s *Set) logOf(i *instance) logger.Logger {
	return s.log.WithFields(map[string]any{"instance": i.name})
}

// Do calls fn with the component's store, which stays open until fn returns. It fails
// with ErrNotInitialized if the component is not open and with stores.ErrClosed after
// Close; fn's error is returned as it is.
func (s *Set) Do(ctx context.Context, name string, fn func(stores.Store) error) error {
	i, err := s.acquire(ctx, name, s.find)
	if err != nil {
		return err
	}
	defer i.calls.Done()
	return fn(i.store)
}

// EndWaiting ends what [Resolver.Wait] has called, and what it will call, with
// stores.ErrClosed. Other calls go on.
func (s *Set) EndWaiting() { s.endWaits() }

// Close ends the calls that wait and closes every store after its last call. Calls that
// come later fail.
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

// enter returns the instance that find finds for the caller of ctx, with a call counted
// on it.
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

// find returns what the caller has opened, or what was opened by nobody.
func (s *Set) find(c *caller, name string) (*instance, error) {
	if i := s.bound(c, name); i != nil {
		return i, nil
	}
	return nil, notInitialized(name)
}

func (s *Set) bound(c *caller, name string) *instance {
	if i := c.bound[name]; i != nil {
		return i
	}
	return s.preloaded.bound[name]
}

func notInitialized(name string) error {
	return fmt.Errorf("component %q: %w", name, ErrNotInitialized)
}

// turn waits until no other Open of the component is under way. It fails if ctx has
// ended. The caller receives from the channel when it is done.
func (s *Set) openLock(ctx context.Context, name string) (chan struct{}, error) {
	s.mu.Lock()
	turn, ok := s.openLocks[name]
	if !ok {
		turn = make(chan struct{}, 1)
		s.openLocks[name] = turn
	}
	s.mu.Unlock()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("component %q: %w", name, ctx.Err())
	}
	select {
	case turn <- struct{}{}:
		return turn, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("component %q: waiting for its other initialization: %w", name, ctx.Err())
	}
}

// reuse binds the caller to the instance that has equal metadata, if there is one.
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

// add takes the instance in and binds the caller to it.
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

// bind gives the caller the instance in the place of the one it had. A caller that is
// gone has no use for either.
func (s *Set) bind(c *caller, name string, i *instance) {
	if !c.disconnected {
		i.callers++
		c.unbind(name)
		c.bound[name] = i
	}
	s.retire(name)
}

// retire closes, in the background, the instances that no caller has bound.
func (s *Set) retire(name string) {
	if s.closed {
		return // Close sees to all of them
	}
	s.open[name] = slices.DeleteFunc(s.open[name], func(i *instance) bool {
		if i.callers > 0 {
			return false
		}
		s.retiring.Go(func() {
			if err := i.close(); err != nil {
				s.log.Warnf("Component %q: the store that was replaced: %v", name, err)
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
	for _, leave := range slices.Backward(i.releases) {
		leave()
	}
	if i.store == nil {
		return nil
	}
	return i.store.Close()
}

// ours is the metadata without what daprd alone uses, so that two apps which differ in
// nothing else share a store.
func storeMetadata(metadata map[string]string) map[string]string {
	kept := make(map[string]string, len(metadata))
	for key, value := range metadata {
		if !strings.EqualFold(key, "keyPrefix") {
			kept[key] = value
		}
	}
	return kept
}

// withTimeout bounds an Open whose caller set no deadline. A remote caller that set one
// gets its answer before that.
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
