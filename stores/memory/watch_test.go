package memory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// eventRecorder records the events of one call of Watch.
type eventRecorder struct {
	mu   sync.Mutex
	list []stores.Event
}

func (w *eventRecorder) record(e stores.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, e)
}

// events returns the recorded events. The first is a snapshot.
func (w *eventRecorder) events() []stores.Event {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.list)
}

// startWatch starts to watch, and returns when the snapshot was recorded. It works only
// in a bubble.
func startWatch(ctx context.Context, s *Store, prefix string) *eventRecorder {
	resume := make(chan struct{})
	close(resume)
	return startSlowWatch(ctx, s, prefix, resume)
}

// startSlowWatch is startWatch with a handler that blocks until resume is closed.
func startSlowWatch(ctx context.Context, s *Store, prefix string, resume <-chan struct{}) *eventRecorder {
	w := &eventRecorder{}
	go func() {
		_ = s.Watch(ctx, prefix, func(e stores.Event) error {
			w.record(e)
			<-resume
			return nil
		})
	}()
	synctest.Wait()
	return w
}

func (w *eventRecorder) kinds() []stores.EventKind {
	var kinds []stores.EventKind
	for _, e := range w.events() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// check checks the events after the snapshot.
func (w *eventRecorder) check(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, e := range w.events()[1:] {
		got = append(got, fmt.Sprint(e.Kind, " ", e.Lock.Key, " ", e.Lock.Owner))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the events are %q, want %q", got, want)
	}
}

// state returns the state of each lock that is held or declared according to the events.
func (w *eventRecorder) state(t *testing.T) map[string]lockState {
	t.Helper()
	return replay(t, w.events())
}

func TestWatch_ExpiryWithoutCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		tryLock(t, s, "disk", "ann", time.Hour, true)
		w := startWatch(t.Context(), s, "")
		tryLock(t, s, "gate", "ann", time.Second, true)
		time.Sleep(time.Second - 1)
		w.check(t, "ACQUIRED gate ann")
		time.Sleep(time.Nanosecond)
		w.check(t, "ACQUIRED gate ann", "EXPIRED gate ann")
		time.Sleep(time.Hour - time.Second)
		w.check(t, "ACQUIRED gate ann", "EXPIRED gate ann", "EXPIRED disk ann")
	})
}

func TestWatch_ExpiryBeforeNextGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		w := startWatch(t.Context(), s, "")
		tryLock(t, s, "disk", "ann", time.Second, true)
		startLock(t.Context(), s, "bob", nil, "disk")
		time.Sleep(time.Second)
		w.check(t, "ACQUIRED disk ann", "EXPIRED disk ann", "ACQUIRED disk bob")
	})
}

func TestWatch_ExpiryFoundByGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		w := startWatch(t.Context(), s, "disk")
		// They expire first, so a grant removes some of them and not the disk.
		for i := range 10 * reclaimPerGrant {
			tryLock(t, s, fmt.Sprint(i), "ann", time.Second-1, true)
		}
		tryLock(t, s, "disk", "ann", time.Second, true)

		s.table.mu.Lock() // keeps the alarm out
		req := singleRequest(&stores.Request{Owner: "bob", TTL: time.Hour}, []string{"disk"})
		_, _ = s.table.try(&req, time.Time{}, time.Now().Add(time.Second))
		s.table.mu.Unlock()
		w.check(t, "ACQUIRED disk ann", "EXPIRED disk ann", "ACQUIRED disk bob")
	})
}

func TestWatch_ExpiryBeforeSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		for i := range 100 {
			tryLock(t, s, fmt.Sprint(i), "ann", time.Second, true)
		}
		time.Sleep(time.Second)
		w := startWatch(t.Context(), s, "")
		time.Sleep(time.Nanosecond) // lets the alarm fire
		if n := len(w.events()[0].Locks); n > 0 {
			t.Errorf("the snapshot has %d locks that have expired", n)
		}
		w.check(t)
	})
}

func TestWatch_ExpiryBeforeLaterSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		w := s.table.subscribe("")
		defer s.table.unsubscribe(w)
		tryLock(t, s, "disk", "ann", time.Second, true)
		s.table.mu.Lock() // keeps the alarm out
		w.buffer.Take()
		start := s.table.takeSnapshot(w, time.Now().Add(time.Second))
		s.table.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		if locks := s.table.describeView(start.view, ""); len(locks) > 0 {
			t.Errorf("the snapshot has %v", locks)
		}
		if events := s.table.nextEvents(w); len(events) > 0 {
			t.Errorf("the events after the snapshot are %v", events)
		}
	})
}

func TestWatch_OverflowStartsNewSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		resume := make(chan struct{})
		w := startSlowWatch(t.Context(), s, "", resume)
		for range maxPending / 2 {
			tryLock(t, s, "disk", "ann", time.Hour, true)
			unlock(t, s, "disk", "ann")
		}
		tryLock(t, s, "gate", "ann", time.Second, true) // overflows the buffer
		tryLock(t, s, "disk", "ann", time.Hour, true)
		time.Sleep(time.Second)
		close(resume)
		synctest.Wait()
		tryLock(t, s, "wall", "ann", time.Hour, true)

		if kinds := w.kinds(); !slices.Equal(kinds, []stores.EventKind{stores.EventSnapshot, stores.EventSnapshot, stores.EventAcquired}) {
			t.Fatalf("the events are %v", kinds)
		}
		if w.events()[0].Missed || !w.events()[1].Missed {
			t.Errorf("missed is %v and then %v", w.events()[0].Missed, w.events()[1].Missed)
		}
		if got := slices.Sorted(maps.Keys(w.state(t))); !slices.Equal(got, []string{"disk", "wall"}) {
			t.Errorf("according to the events %q are held", got)
		}
	})
}

func TestWatch_FullBufferMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		resume := make(chan struct{})
		w := startSlowWatch(t.Context(), s, "", resume)
		for range maxPending / 2 {
			tryLock(t, s, "disk", "ann", time.Hour, true)
			unlock(t, s, "disk", "ann")
		}
		close(resume)
		if n := len(w.events()); n != 1+maxPending || len(w.state(t)) > 0 {
			t.Errorf("there were %d events, with the state %v", n, w.state(t))
		}
	})
}

func TestWatch_LeavesNothing(t *testing.T) {
	errStop := errors.New("stop")
	for _, row := range []struct {
		name string
		end  func(s *Store, cancel func())
		fail error // the result of the handler
		want error
	}{
		{"when ctx ends", func(_ *Store, cancel func()) { cancel() }, nil, context.Canceled},
		{"when the store is closed", func(s *Store, _ func()) { _ = s.Close() }, nil, stores.ErrClosed},
		{"when the handler fails", func(*Store, func()) {}, errStop, errStop},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, NewProcess(), "locks", "")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- s.Watch(ctx, "", func(stores.Event) error { return row.fail }) }()
				synctest.Wait()
				row.end(s, cancel)
				synctest.Wait()
				if err := <-ended; !errors.Is(err, row.want) {
					t.Errorf("Watch returned %v, want %v", err, row.want)
				}
				checkNoWaiters(t, s)
			})
		})
	}
}

func TestClose_WaitsForWatchHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		resume, watched, closed := make(chan struct{}), make(chan error, 1), make(chan error, 1)
		go func() {
			watched <- s.Watch(t.Context(), "", func(stores.Event) error {
				<-resume
				_, err := s.List(t.Context(), "")
				return err
			})
		}()
		synctest.Wait()
		go func() { closed <- s.Close() }()
		synctest.Wait()
		if len(closed) > 0 {
			t.Error("Close returned before the handler")
		}
		close(resume)
		if err := <-watched; !errors.Is(err, stores.ErrClosed) {
			t.Errorf("Watch returned %v", err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}
