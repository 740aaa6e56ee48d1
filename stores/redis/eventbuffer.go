package redis

import (
	"sync"

	"github.com/mortise-lock/mortise/internal/eventbuffer"
)

// eventBufferSize is how many messages are kept for a slow watcher.
const eventBufferSize = 4096

// eventBuffer keeps received messages until the watcher takes them. When it is full, or
// messages were lost elsewhere, it drops all messages until a restart.
type eventBuffer struct {
	mu         sync.Mutex
	buffer     *eventbuffer.Buffer[any] // of stores.Event and report
	taken      []any                    // from the buffer, not yet returned by next
	subscribed bool                     // messages are received
	err        error                    // why not, if known
}

func newEventBuffer() *eventBuffer {
	b := &eventBuffer{buffer: eventbuffer.New[any](eventBufferSize)}
	b.buffer.Drop()
	return b
}

// ready returns a channel that receives a value if something has changed.
func (b *eventBuffer) ready() <-chan struct{} { return b.buffer.Ready() }

// add appends a message.
func (b *eventBuffer) add(message any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buffer.Add(message)
}

// connected records that messages are received from now on.
func (b *eventBuffer) connected() { b.set(true, nil) }

// disconnected records that no messages are received, and why.
func (b *eventBuffer) disconnected(err error) { b.set(false, err) }

func (b *eventBuffer) set(subscribed bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscribed, b.err = subscribed, err
	b.drop()
	b.buffer.Notify()
}

// markLost records that messages were lost.
func (b *eventBuffer) markLost() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop()
}

func (b *eventBuffer) drop() {
	b.buffer.Drop()
	b.taken = nil
}

// restart keeps messages again if they are received; else it returns why not, if known.
func (b *eventBuffer) restart() (subscribed bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subscribed {
		b.buffer.Take()
	}
	return b.subscribed, b.err
}

// next removes and returns the next message. It returns nil if there is none, and
// errMessagesLost if messages were dropped since the last restart.
func (b *eventBuffer) next() (any, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buffer.Overflowed() && len(b.taken) == 0 {
		return nil, errMessagesLost
	}
	if len(b.taken) == 0 {
		b.taken, _ = b.buffer.Take()
	}
	if len(b.taken) == 0 {
		return nil, nil
	}
	message := b.taken[0]
	b.taken = b.taken[1:]
	return message, nil
}
