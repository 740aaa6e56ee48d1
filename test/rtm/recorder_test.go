package rtm

import (
	"context"
	"strings"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// eventRecorder reads the events of a subscriber of a channel or of a user's session.
type eventRecorder struct {
	user
	stream stream
	cancel context.CancelFunc
	marker request // a lock whose events separate earlier events from later ones
}

// subscribe subscribes to the channel. It also returns the locks of the snapshot.
func (u user) subscribe(a request) (*eventRecorder, []lock) {
	u.Helper()
	w, first := u.openStream(subscribe, a, a.withLock("marker"))
	if want := (lock{channel: a.channel, kind: a.kind}); first.lock != want {
		u.Errorf("snapshot of %+v, want %+v", first.lock, want)
	}
	return w, first.locks
}

// openSession opens a session with the locks that the client assumes to hold. It also
// returns the locks of the snapshot.
func (u user) openSession(held ...lock) (*eventRecorder, []lock) {
	u.Helper()
	w, first := u.openStream(session, request{store: component, held: held}, request{
		store: component, channel: u.name, kind: messageType, lock: "marker", ttl: 30,
	})
	return w, first.locks
}

func (u user) openStream(operation string, a, marker request) (*eventRecorder, event) {
	u.Helper()
	a.user = u.name
	ctx, cancel := context.WithCancel(u.ctx)
	u.Cleanup(cancel)
	s, err := u.api.open(ctx, operation, a)
	if err != nil {
		u.Fatalf("%s's %s: %v", u.name, operation, err)
	}
	w := &eventRecorder{u, s, cancel, marker}
	first := w.next()
	if first.kind != rtmpb.LockEvent_SNAPSHOT {
		u.Fatalf("first event of %s's %s = %v, want a snapshot", u.name, operation, first)
	}
	return w, first
}

// next waits for the next event, and fails the test if the stream ends before it.
func (w *eventRecorder) next() event {
	w.Helper()
	e, err := w.stream.next()
	if err != nil {
		w.Fatalf("stream of %s ended: %v", w.name, err)
	}
	return e
}

// channelEvents returns the events of a subscription since the previous call.
func (w *eventRecorder) channelEvents() []event {
	w.Helper()
	w.must(setLock, w.marker)
	events := w.eventsBefore(rtmpb.LockEvent_SET)
	w.must(removeLock, w.marker)
	return append(events, w.eventsBefore(rtmpb.LockEvent_REMOVED)...)
}

// sessionEvents returns the events of a session since the previous call.
func (w *eventRecorder) sessionEvents() []event {
	w.Helper()
	w.must(setLock, w.marker)
	w.must(acquireLock, w.marker)
	events := w.eventsBefore(rtmpb.LockEvent_ACQUIRED)
	w.must(removeLock, w.marker)
	return append(events, w.eventsBefore(rtmpb.LockEvent_REMOVED)...)
}

// eventsBefore returns the events before the marker's event of this kind.
func (w *eventRecorder) eventsBefore(kind rtmpb.LockEvent_Type) []event {
	w.Helper()
	var events []event
	for e := w.next(); e.kind != kind || e.lock.name != w.marker.lock; e = w.next() {
		events = append(events, e)
	}
	return events
}

// disconnect cancels the stream, as a client that disconnects does.
func (w *eventRecorder) disconnect() {
	w.cancel()
	_ = w.waitEnd() // the error of ctx
}

// waitEnd waits until the stream ends, and returns its error.
func (w *eventRecorder) waitEnd() error {
	for {
		if _, err := w.stream.next(); err != nil {
			return err
		}
	}
}

// describe returns the events in one line.
func describe(events []event) string {
	words := make([]string, len(events))
	for i, e := range events {
		words[i] = e.String()
	}
	return strings.Join(words, ", ")
}
