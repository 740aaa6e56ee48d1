package rtm

import (
	"context"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// maxNews is how many events are kept for a stream that is slow. One that falls further
// behind is told a new snapshot.
const maxPending = 1024

// feed is what a stream has yet to be told. Its hub's mu guards it, but for the channels.
type feed struct {
	snapshot func() *rtmpb.LockEvent // of the present state
	pending  []*rtmpb.LockEvent
	wake     chan struct{} // has an element if there are news
	ended    chan struct{} // closed when the stream shall end
	err      error         // it shall; valid when ended is closed
}

// newFeed returns a feed that begins with a snapshot.
func newFeed(snapshot func() *rtmpb.LockEvent) *feed {
	f := &feed{snapshot: snapshot, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	f.reset()
	return f
}

// add adds an event that the present state has taken in already.
func (f *feed) add(e *rtmpb.LockEvent) {
	if len(f.pending) >= maxPending {
		f.reset()
		return
	}
	f.pending = append(f.pending, e)
	notify(f.wake)
}

// restart lets a snapshot be all that there is to tell.
func (f *feed) reset() {
	f.pending = []*rtmpb.LockEvent{f.snapshot()}
	notify(f.wake)
}

// end lets the stream end.
func (f *feed) end(why error) {
	f.err = why
	close(f.ended)
}

// stream sends the feed's events until ctx ends, the feed or the hub does, or send fails.
func (h *hub) stream(ctx context.Context, f *feed, send func(*rtmpb.LockEvent) error) error {
	for {
		select {
		case <-f.wake:
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

// collect returns the news, of which the feed is relieved.
func (h *hub) takePending(f *feed) []*rtmpb.LockEvent {
	h.mu.Lock()
	defer h.mu.Unlock()
	news := f.pending
	f.pending = nil
	return news
}

// poke sends to a channel that holds one element, unless it has one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
