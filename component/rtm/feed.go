package rtm

import (
	"context"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// maxNews is how many events are kept for a stream that is slow. One that falls further
// behind is told a new snapshot.
const maxNews = 1024

// feed is what a stream has yet to be told. Its hub's mu guards it, but for the channels.
type feed struct {
	snapshot func() *rtmpb.LockEvent // of the present state
	news     []*rtmpb.LockEvent
	wake     chan struct{} // has an element if there are news
	ended    chan struct{} // closed when the stream shall end
	why      error         // it shall; valid when ended is closed
}

// newFeed returns a feed that begins with a snapshot.
func newFeed(snapshot func() *rtmpb.LockEvent) *feed {
	f := &feed{snapshot: snapshot, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	f.restart()
	return f
}

// add adds an event that the present state has taken in already.
func (f *feed) add(e *rtmpb.LockEvent) {
	if len(f.news) >= maxNews {
		f.restart()
		return
	}
	f.news = append(f.news, e)
	poke(f.wake)
}

// restart lets a snapshot be all that there is to tell.
func (f *feed) restart() {
	f.news = []*rtmpb.LockEvent{f.snapshot()}
	poke(f.wake)
}

// end lets the stream end.
func (f *feed) end(why error) {
	f.why = why
	close(f.ended)
}

// stream sends the feed's events until ctx ends, the feed or the hub does, or send fails.
func (h *hub) stream(ctx context.Context, f *feed, send func(*rtmpb.LockEvent) error) error {
	for {
		select {
		case <-f.wake:
			for _, e := range h.collect(f) {
				if err := send(e); err != nil {
					return err
				}
			}
		case <-f.ended:
			return f.why
		case <-h.ended:
			return h.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// collect returns the news, of which the feed is relieved.
func (h *hub) collect(f *feed) []*rtmpb.LockEvent {
	h.mu.Lock()
	defer h.mu.Unlock()
	news := f.news
	f.news = nil
	return news
}

// poke sends to a channel that holds one element, unless it has one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
