package instances

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mortise-lock/mortise/internal/sleep"
	"github.com/mortise-lock/mortise/stores"
)

const (
	// firstOpenTimeout bounds the first attempt to open a component that may be opened
	// later, so that the process starts soon.
	firstOpenTimeout = time.Second

	// The pause between attempts doubles from minRetryInterval to maxRetryInterval.
	minRetryInterval = 100 * time.Millisecond
	maxRetryInterval = 5 * time.Second
)

// ErrNotOpen reports a call for a component whose store is not open yet.
var ErrNotOpen = errors.New("component is not open yet")

// OpenUnreachableLater makes Open succeed for a component from a resource file whose
// storage is unreachable. The set retries until the store is open or no longer used;
// meanwhile calls fail with ErrNotOpen and the error of the last attempt. The set calls
// failing when the retries start, and the returned function when they end.
//
// It must be called before the set is used.
func (s *Set) OpenUnreachableLater(failing func(component string) (recovered func())) {
	s.failing = failing
}

// opensLater reports whether a component that ctx opens may be opened later.
func (s *Set) opensLater(ctx context.Context) bool {
	return s.failing != nil && s.callerOf(ctx) == s.preloaded
}

// isUnreachable reports whether opening failed because the storage did not answer. Other
// failures are permanent ones of the configuration.
func isUnreachable(err error) bool {
	return errors.Is(err, stores.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded)
}

// openLater starts a goroutine that retries to open the instance's store, with the
// timeout for each attempt. Closing the instance ends it and waits for it.
func (s *Set) openLater(i *instance, timeout time.Duration, err error) {
	s.logOf(i).Warnf("Retrying to open the component until its storage is reachable: %v", err)
	i.notOpen = &notOpenError{i.name, err}
	recovered := s.failing(i.name)
	i.opening.Go(func() {
		defer recovered()
		s.retry(i, timeout)
	})
}

// retry retries to open the instance's store until that succeeds or the instance is
// closed.
func (s *Set) retry(i *instance, timeout time.Duration) {
	for pause := minRetryInterval; sleep.For(i.closing, pause); pause = min(2*pause, maxRetryInterval) {
		store, err := s.openStore(i.closing, i, timeout)
		if err == nil {
			s.opened(i, store)
			return
		}
		s.stillNotOpen(i, err)
	}
}

// opened sets the store of an instance that was not open.
func (s *Set) opened(i *instance, store stores.Store) {
	wrapped, releases := s.wrap(i, store)
	s.mu.Lock()
	defer s.mu.Unlock()
	i.store, i.releases, i.notOpen = wrapped, releases, nil
}

// stillNotOpen records the error of an attempt for calls, and logs it if it differs from
// the last one. It ignores an attempt that failed because the instance is closing.
func (s *Set) stillNotOpen(i *instance, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.closing.Err() != nil {
		return
	}
	if err.Error() != i.notOpen.cause.Error() {
		s.logOf(i).Warnf("Still retrying to open the component: %v", err)
	}
	i.notOpen = &notOpenError{i.name, err}
}

// timeLeft returns the time until the deadline of ctx, which must have one.
func timeLeft(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return time.Until(deadline)
}

// notOpenError is the error of calls for a component that is not open yet. It matches
// ErrNotOpen and what its cause matches, except context errors, which are those of the
// attempt to open the store and not of the call.
type notOpenError struct {
	component string
	cause     error
}

// Error names the component and the cause.
func (e *notOpenError) Error() string {
	return fmt.Sprintf("component %q is not open yet: %v", e.component, e.cause)
}

// Is implements what errors.Is looks for.
func (e *notOpenError) Is(target error) bool {
	switch target {
	case ErrNotOpen:
		return true
	case context.Canceled, context.DeadlineExceeded:
		return false
	}
	return errors.Is(e.cause, target)
}
