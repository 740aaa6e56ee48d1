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

// told is what a watcher was told so far.
type told struct {
	mu   sync.Mutex
	list []stores.Event
}

func (w *told) add(e stores.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, e)
}

// events returns them, from the snapshot at the beginning on.
func (w *told) events() []stores.Event {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.list)
}

// watch starts to watch, and returns when the snapshot was told. It works in a bubble
// only.
func watch(ctx context.Context, s *Store, prefix string) *told {
	pace := make(chan struct{})
	close(pace)
	return watchAt(ctx, s, prefix, pace)
}

// watchAt is watch for somebody who is stuck in the first event until pace is closed.
func watchAt(ctx context.Context, s *Store, prefix string, pace <-chan struct{}) *told {
	w := &told{}
	go func() {
		_ = s.Watch(ctx, prefix, func(e stores.Event) error {
			w.add(e)
			<-pace
			return nil
		})
	}()
	synctest.Wait()
	return w
}

func (w *told) kinds() []stores.EventKind {
	var kinds []stores.EventKind
	for _, e := range w.events() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// is expects these events since the snapshot.
func (w *told) is(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, e := range w.events()[1:] {
		got = append(got, fmt.Sprint(e.Kind, " ", e.Lock.Key, " ", e.Lock.Owner))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the watcher was told %q, want %q", got, want)
	}
}

// state returns the condition of each lock that is held or declared, by what w was told.
func (w *told) state(t *testing.T) map[string]condition {
	t.Helper()
	return replay(t, w.events())
}

func TestExpiryIsToldWithoutACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		take(t, s, "disk", "ann", time.Hour, true)
		w := watch(t.Context(), s, "")
		take(t, s, "gate", "ann", time.Second, true)
		time.Sleep(time.Second - 1)
		w.is(t, "ACQUIRED gate ann")
		time.Sleep(time.Nanosecond)
		w.is(t, "ACQUIRED gate ann", "EXPIRED gate ann")
		time.Sleep(time.Hour - time.Second)
		w.is(t, "ACQUIRED gate ann", "EXPIRED gate ann", "EXPIRED disk ann")
	})
}

func TestExpiryIsToldBeforeTheNextGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		w := watch(t.Context(), s, "")
		take(t, s, "disk", "ann", time.Second, true)
		ask(t.Context(), s, "bob", nil, "disk")
		time.Sleep(time.Second)
		w.is(t, "ACQUIRED disk ann", "EXPIRED disk ann", "ACQUIRED disk bob")
	})
}

func TestExpiryThatAGrantFindsIsToldFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		w := watch(t.Context(), s, "disk")
		for i := range 10 * reclaimPerGrant { // they expire first, so a grant clears some of them away and not the disk
			take(t, s, fmt.Sprint(i), "ann", time.Second-1, true)
		}
		take(t, s, "disk", "ann", time.Second, true)

		s.table.mu.Lock() // before the alarm comes to it
		req := single(&stores.Request{Owner: "bob", TTL: time.Hour}, []string{"disk"})
		_, _ = s.table.try(&req, time.Time{}, time.Now().Add(time.Second))
		s.table.mu.Unlock()
		w.is(t, "ACQUIRED disk ann", "EXPIRED disk ann", "ACQUIRED disk bob")
	})
}

func TestWhatExpiredBeforeTheSnapshotIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		for i := range 100 {
			take(t, s, fmt.Sprint(i), "ann", time.Second, true)
		}
		time.Sleep(time.Second)
		w := watch(t.Context(), s, "")
		time.Sleep(time.Nanosecond) // for the alarm
		if n := len(w.events()[0].Locks); n > 0 {
			t.Errorf("the snapshot has %d locks that have expired", n)
		}
		w.is(t)
	})
}

func TestWhatExpiredBeforeALaterSnapshotIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		w := s.table.subscribe("")
		defer s.table.unsubscribe(w)
		take(t, s, "disk", "ann", time.Second, true)
		s.table.mu.Lock() // before the alarm comes to it
		w.missed = true
		s.table.takeSnapshot(w, time.Now().Add(time.Second))
		s.table.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		if news := s.table.nextEvents(w); len(news) != 1 || !news[0].Missed || len(news[0].Locks) > 0 {
			t.Errorf("the watcher is told %v", news)
		}
	})
}

func TestSlowWatcherIsToldThatItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		pace := make(chan struct{})
		w := watchAt(t.Context(), s, "", pace)
		for range maxPending / 2 {
			take(t, s, "disk", "ann", time.Hour, true)
			release(t, s, "disk", "ann")
		}
		take(t, s, "gate", "ann", time.Second, true) // one too many
		take(t, s, "disk", "ann", time.Hour, true)
		time.Sleep(time.Second)
		close(pace)
		synctest.Wait()
		take(t, s, "wall", "ann", time.Hour, true)

		if kinds := w.kinds(); !slices.Equal(kinds, []stores.EventKind{stores.EventSnapshot, stores.EventSnapshot, stores.EventAcquired}) {
			t.Fatalf("the watcher was told %v", kinds)
		}
		if w.events()[0].Missed || !w.events()[1].Missed {
			t.Errorf("missed is %v and then %v", w.events()[0].Missed, w.events()[1].Missed)
		}
		if got := slices.Sorted(maps.Keys(w.state(t))); !slices.Equal(got, []string{"disk", "wall"}) {
			t.Errorf("the watcher believes that %q are held", got)
		}
	})
}

func TestWatcherJustInTimeMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		pace := make(chan struct{})
		w := watchAt(t.Context(), s, "", pace)
		for range maxPending / 2 {
			take(t, s, "disk", "ann", time.Hour, true)
			release(t, s, "disk", "ann")
		}
		close(pace)
		if n := len(w.events()); n != 1+maxPending || len(w.state(t)) > 0 {
			t.Errorf("the watcher was told %d events and believes %v", n, w.state(t))
		}
	})
}

func TestNothingIsLeftOfAWatcher(t *testing.T) {
	errEnough := errors.New("enough")
	for _, row := range []struct {
		name string
		end  func(s *Store, cancel func())
		tell error
		want error
	}{
		{"whose ctx ends", func(_ *Store, cancel func()) { cancel() }, nil, context.Canceled},
		{"whose store is closed", func(s *Store, _ func()) { _ = s.Close() }, nil, stores.ErrClosed},
		{"who has enough", func(*Store, func()) {}, errEnough, errEnough},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, NewProcess(), "locks", "")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- s.Watch(ctx, "", func(stores.Event) error { return row.tell }) }()
				synctest.Wait()
				row.end(s, cancel)
				synctest.Wait()
				if err := <-ended; !errors.Is(err, row.want) {
					t.Errorf("Watch returned %v, want %v", err, row.want)
				}
				isForgotten(t, s)
			})
		})
	}
}

func TestCloseWaitsForATellThatCallsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		goOn, watched, closed := make(chan struct{}), make(chan error, 1), make(chan error, 1)
		go func() {
			watched <- s.Watch(t.Context(), "", func(stores.Event) error {
				<-goOn
				_, err := s.List(t.Context(), "")
				return err
			})
		}()
		synctest.Wait()
		go func() { closed <- s.Close() }()
		synctest.Wait()
		if len(closed) > 0 {
			t.Error("Close has returned, and tell has not")
		}
		close(goOn)
		if err := <-watched; !errors.Is(err, stores.ErrClosed) {
			t.Errorf("Watch returned %v", err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}
