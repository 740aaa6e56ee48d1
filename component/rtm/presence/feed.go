package presence

import (
	"context"

	"github.com/mortise-lock/mortise/internal/eventbuffer"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// maxPending is the number of events that are buffered for a stream. When a slow stream
// exceeds it, a new snapshot replaces its buffered events.
const maxPending = 1024

// feed holds the events that a stream has not sent yet. The mu of its hub guards all
// fields but the channels.
type feed struct {
	snapshot func() *rtmpb.LockEvent // returns the current state
	buffer   *eventbuffer.Buffer[*rtmpb.LockEvent]
	ended    chan struct{} // closed when the stream has to end
	err      error         // why it has to end; valid when ended is closed
}

// newFeed returns a feed whose first event is a snapshot.
func newFeed(snapshot func() *rtmpb.LockEvent) *feed {
	f := &feed{
		snapshot: snapshot,
		buffer:   eventbuffer.New[*rtmpb.LockEvent](maxPending),
		ended:    make(chan struct{}),
	}
	f.reset()
	return f
}

// add adds an event that the current state already includes.
func (f *feed) add(e *rtmpb.LockEvent) {
	if !f.buffer.Add(e) {
		f.reset()
	}
}

// reset replaces the pending events by a snapshot.
func (f *feed) reset() {
	f.buffer.Take()
	f.buffer.Add(f.snapshot())
}

// end ends the stream with err.
func (f *feed) end(err error) {
	f.err = err
	close(f.ended)
}

// stream sends the feed's events until ctx, the feed or the hub ends, or send fails. It
// returns the reason.
func (h *hub) stream(ctx context.Context, f *feed, send func(*rtmpb.LockEvent) error) error {
	for {
		select {
		case <-f.buffer.Ready():
			for _, e := range h.takePending(f) {
				if err := send(e); err != nil {
					return err
				}
			}
		case <-f.ended:
			return f.err
		case <-h.ended:
			return h.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// takePending removes and returns the pending events.
func (h *hub) takePending(f *feed) []*rtmpb.LockEvent {
	h.mu.Lock()
	defer h.mu.Unlock()
	events, _ := f.buffer.Take()
	return events
}
