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
	// firstTimeout bounds the first attempt to open a component that may be opened later,
	// so that the process starts soon.
	firstOpenTimeout = time.Second

	// The pause between attempts doubles from minRetryPause to maxRetryPause.
	minRetryInterval = 100 * time.Millisecond
	maxRetryInterval = 5 * time.Second
)

// ErrNotOpen reports a call for a component whose store could not be opened yet.
var ErrNotOpen = errors.New("component is not open yet")

// OpenUnreachableLater lets Open succeed for a component that no caller opens, but a
// resource file, while its storage is unreachable. The set then retries until the store
// is open or not used any more; meanwhile calls fail with ErrNotOpen and the error of the
// last attempt. failing is called when that begins, and what it returns when it ends.
//
// It is called before the set is used.
func (s *Set) OpenUnreachableLater(failing func(component string) (recovered func())) {
	s.failing = failing
}

// opensLater reports whether what ctx opens may be opened later.
func (s *Set) opensLater(ctx context.Context) bool {
	return s.failing != nil && s.callerOf(ctx) == s.preloaded
}

// isUnreachable reports whether opening failed because the storage did not answer. Every
// other failure is one of the configuration, which time does not mend.
func isUnreachable(err error) bool {
	return errors.Is(err, stores.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded)
}

// openLater starts a goroutine that opens the instance's store, every attempt within the
// time. It ends when the instance is closed, which waits for it.
func (s *Set) openLater(i *instance, within time.Duration, err error) {
	s.logOf(i).Warnf("Component cannot be opened yet, retrying until its storage is reachable: %v", err)
	i.notOpen = &notOpenError{i.name, err}
	recovered := s.failing(i.name)
	i.opening.Go(func() {
		defer recovered()
		s.retry(i, within)
	})
}

// retry tries to open the instance's store until that succeeds or the instance is closed.
func (s *Set) retry(i *instance, within time.Duration) {
	for pause := minRetryInterval; sleep.For(i.closing, pause); pause = min(2*pause, maxRetryInterval) {
		store, err := s.openStore(i.closing, i, within)
		if err == nil {
			s.opened(i, store)
			return
		}
		s.stillNotOpen(i, err)
	}
}

// opened lets calls use the store of an instance that was not open.
func (s *Set) opened(i *instance, store stores.Store) {
	used, unattend := s.wrap(i, store)
	s.mu.Lock()
	defer s.mu.Unlock()
	i.store, i.releases, i.notOpen = used, unattend, nil
}

// stillNotOpen keeps the error of an attempt for calls, and logs one that differs from
// the error before. An attempt that ended because the instance is closed has no error of
// its own.
func (s *Set) stillNotOpen(i *instance, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.closing.Err() != nil {
		return
	}
	if err.Error() != i.notOpen.cause.Error() {
		s.logOf(i).Warnf("Component still cannot be opened: %v", err)
	}
	i.notOpen = &notOpenError{i.name, err}
}

// timeLeft returns the time until the deadline of ctx, which has one.
func timeLeft(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return time.Until(deadline)
}

// notOpenError is why a component is not open yet. It is an ErrNotOpen and what the cause
// is, except that its cause can be a deadline of the attempt to open the store, which is
// not that of the call.
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
