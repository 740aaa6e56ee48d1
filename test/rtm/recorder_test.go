package rtm

import (
	"context"
	"strings"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// witness is somebody who is told events: a subscriber of a channel, or a user who is
// online.
type eventRecorder struct {
	user
	stream stream
	cancel context.CancelFunc
	marker request // the lock that tells what came before from what comes after
}

// subscribe tells the user what happens in the channel. It returns the snapshot besides.
func (u user) subscribe(a request) (*eventRecorder, []lock) {
	u.Helper()
	w, first := u.openStream(subscribe, a, a.withLock("mark"))
	if want := (lock{channel: a.channel, kind: a.kind}); first.lock != want {
		u.Errorf("the snapshot is about %+v, want %+v", first.lock, want)
	}
	return w, first.locks
}

// online opens a session of the user, who believes to hold some locks. It returns those
// that he holds besides.
func (u user) openSession(held ...lock) (*eventRecorder, []lock) {
	u.Helper()
	w, first := u.openStream(session, request{store: component, held: held}, request{
		store: component, channel: u.name, kind: messageType, lock: "mark", ttl: 30,
	})
	return w, first.locks
}

func (u user) openStream(operation string, a, mark request) (*eventRecorder, event) {
	u.Helper()
	a.user = u.name
	ctx, cancel := context.WithCancel(u.ctx)
	u.Cleanup(cancel)
	s, err := u.api.open(ctx, operation, a)
	if err != nil {
		u.Fatalf("%s's %s: %v", u.name, operation, err)
	}
	w := &eventRecorder{u, s, cancel, mark}
	first := w.next()
	if first.kind != rtmpb.LockEvent_SNAPSHOT {
		u.Fatalf("%s's %s begins with %v", u.name, operation, first)
	}
	return w, first
}

// next is the next event, which has to come.
func (w *eventRecorder) next() event {
	w.Helper()
	e, err := w.stream.next()
	if err != nil {
		w.Fatalf("%s is told no more: %v", w.name, err)
	}
	return e
}

// seen is what a subscriber was told since the last time.
func (w *eventRecorder) channelEvents() []event {
	w.Helper()
	w.must(setLock, w.marker)
	events := w.eventsBefore(rtmpb.LockEvent_SET)
	w.must(removeLock, w.marker)
	return append(events, w.eventsBefore(rtmpb.LockEvent_REMOVED)...)
}

// heard is what a user who is online was told since the last time.
func (w *eventRecorder) sessionEvents() []event {
	w.Helper()
	w.must(setLock, w.marker)
	w.must(acquireLock, w.marker)
	events := w.eventsBefore(rtmpb.LockEvent_ACQUIRED)
	w.must(removeLock, w.marker)
	return append(events, w.eventsBefore(rtmpb.LockEvent_REMOVED)...)
}

// before returns the events that come before the one of this kind about the mark.
func (w *eventRecorder) eventsBefore(kind rtmpb.LockEvent_Type) []event {
	w.Helper()
	var events []event
	for e := w.next(); e.kind != kind || e.lock.name != w.marker.lock; e = w.next() {
		events = append(events, e)
	}
	return events
}

// leave ends the stream, as a client does that is gone.
func (w *eventRecorder) disconnect() {
	w.cancel()
	_ = w.waitEnd() // of ctx
}

// end waits for the end of the stream, and returns why it has ended.
func (w *eventRecorder) waitEnd() error {
	for {
		if _, err := w.stream.next(); err != nil {
			return err
		}
	}
}

// sentence is what happened, in one line.
func describe(events []event) string {
	words := make([]string, len(events))
	for i, e := range events {
		words[i] = e.String()
	}
	return strings.Join(words, ", ")
}
