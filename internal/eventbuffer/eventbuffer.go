// Package eventbuffer holds events for a subscriber that reads them later. Its size is
// bounded: a subscriber that does not keep up gets a snapshot of the present state in the
// place of the events that it has missed.
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

// Ready returns a channel that receives a value when there are events to take, or when
// events were dropped.
func (b *Buffer[E]) Ready() <-chan struct{} { return b.ready }

// Add appends an event. It returns false if the buffer has overflowed.
func (b *Buffer[E]) Add(e E) bool {
	if !b.overflow && len(b.events) < b.max {
		b.events = append(b.events, e)
		b.notify()
		return true
	}
	b.Drop()
	return false
}

// Drop overflows the buffer: for events that were lost before they could be added, or
// because the subscriber has to begin with a snapshot.
func (b *Buffer[E]) Drop() {
	b.events, b.overflow = nil, true
	b.notify()
}

func (b *Buffer[E]) notify() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// Take removes and returns the events. It reports whether the buffer has overflowed since
// the last Take. A snapshot of now then replaces what was dropped.
func (b *Buffer[E]) Take() (events []E, overflowed bool) {
	events, overflowed = b.events, b.overflow
	b.events, b.overflow = nil, false
	return events, overflowed
}
