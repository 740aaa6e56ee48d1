// Package eventbuffer holds events for a subscriber that reads them later. Its size is
// bounded: a subscriber that does not keep up gets a snapshot of the current state
// instead of the events that it has missed.
package eventbuffer

// Buffer holds at most a fixed number of events. When one more is added, it overflows: it
// drops all of them and those that are added later, until Take.
//
// The subscriber waits for Ready and then calls Take. Ready is safe for concurrent use;
// the caller serializes all other methods with the changes that the events describe.
type Buffer[E any] struct {
	events   []E
	max      int
	overflow bool
	ready    chan struct{}
}

// New returns an empty buffer for max events.
func New[E any](max int) *Buffer[E] {
	return &Buffer[E]{max: max, ready: make(chan struct{}, 1)}
}

// Ready returns a channel that receives a value after Notify, and after Add except if the
// buffer had overflowed before.
func (b *Buffer[E]) Ready() <-chan struct{} { return b.ready }

// Notify notifies the subscriber although no event was added. It is safe for concurrent
// use.
func (b *Buffer[E]) Notify() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// Add appends an event. It returns false if the buffer has overflowed.
func (b *Buffer[E]) Add(e E) bool {
	switch {
	case b.overflow:
		return false
	case len(b.events) == b.max:
		b.Drop()
		b.Notify()
		return false
	}
	b.events = append(b.events, e)
	b.Notify()
	return true
}

// Drop overflows the buffer: for events that were lost before they could be added, or
// because the subscriber has to begin with a snapshot. It does not notify the subscriber.
func (b *Buffer[E]) Drop() { b.events, b.overflow = nil, true }

// Overflowed reports whether events were dropped since the last Take.
func (b *Buffer[E]) Overflowed() bool { return b.overflow }

// Take removes and returns the events. It reports whether the buffer has overflowed since
// the last Take. A snapshot of now then replaces what was dropped.
func (b *Buffer[E]) Take() (events []E, overflowed bool) {
	events, overflowed = b.events, b.overflow
	b.events, b.overflow = nil, false
	return events, overflowed
}
