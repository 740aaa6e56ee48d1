package redis

import "sync"

// eventBufferSize is how many messages are kept for a slow watcher.
const eventBufferSize = 4096

// eventBuffer keeps received messages until the watcher takes them. When it is full, or
// messages were lost elsewhere, it is behind: it drops all messages until a restart.
type eventBuffer struct {
	ready chan struct{} // has a message if something has changed

	mu         sync.Mutex
	messages   []any // of type stores.Event and report
	behind     bool
	subscribed bool  // messages are received
	err        error // why not, if known
}

func newEventBuffer() *eventBuffer { return &eventBuffer{ready: make(chan struct{}, 1), behind: true} }

// add appends a message.
func (b *eventBuffer) add(message any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.behind {
		return
	}
	if b.messages = append(b.messages, message); len(b.messages) > eventBufferSize {
		b.behind, b.messages = true, nil
	}
	notify(b.ready)
}

// connected records that messages are received from now on.
func (b *eventBuffer) connected() { b.set(true, nil) }

// disconnected records that no messages are received, and why.
func (b *eventBuffer) disconnected(err error) { b.set(false, err) }

func (b *eventBuffer) set(subscribed bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscribed, b.err = subscribed, err
	b.behind, b.messages = true, nil
	notify(b.ready)
}

// markLost records that messages were lost.
func (b *eventBuffer) markLost() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.behind, b.messages = true, nil
}

// restart keeps messages again if they are received; else it returns why not, if known.
func (b *eventBuffer) restart() (subscribed bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.behind = !b.subscribed
	return b.subscribed, b.err
}

// next removes and returns the next message. It returns nil if there is none, and
// errMessagesLost if the buffer is behind.
func (b *eventBuffer) next() (any, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.behind {
		return nil, errMessagesLost
	}
	if len(b.messages) == 0 {
		return nil, nil
	}
	message := b.messages[0]
	b.messages = b.messages[1:]
	return message, nil
}
