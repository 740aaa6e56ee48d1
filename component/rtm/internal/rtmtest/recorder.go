package rtmtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// EventRecorder records the events of a stream.
type EventRecorder struct {
	Cancel context.CancelFunc
	Ended  chan error
	Pace   chan struct{} // each element lets Send return once; always if it is closed

	mu     sync.Mutex
	events []*rtmpb.LockEvent
}

// Record runs a stream until the test ends or the recorder is canceled.
func (w *Env) Record(run func(ctx context.Context, send func(*rtmpb.LockEvent) error) error) *EventRecorder {
	ctx, cancel := context.WithCancel(w.Context())
	h := &EventRecorder{Cancel: cancel, Ended: make(chan error, 1), Pace: make(chan struct{})}
	go func() {
		h.Ended <- run(ctx, func(e *rtmpb.LockEvent) error {
			h.mu.Lock()
			h.events = append(h.events, e)
			h.mu.Unlock()
			select {
			case <-h.Pace:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	synctest.Wait()
	return h
}

// Events returns the events so far.
func (h *EventRecorder) Events() []*rtmpb.LockEvent {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

// summary returns a line for each event so far: its type, lock and owner.
func (h *EventRecorder) summary() []string {
	var lines []string
	for _, e := range h.Events() {
		if e.GetEventType() == rtmpb.LockEvent_SNAPSHOT {
			lines = append(lines, fmt.Sprint("SNAPSHOT of ", len(e.GetLocks())))
		} else {
			lines = append(lines, fmt.Sprint(e.GetEventType(), " ", e.GetLockName(), " ", e.GetOwner()))
		}
	}
	return lines
}

// Check checks the events so far.
func (h *EventRecorder) Check(t *testing.T, want ...string) {
	t.Helper()
	if got := h.summary(); !slices.Equal(got, want) {
		t.Errorf("events = %q, want %q", got, want)
	}
}
