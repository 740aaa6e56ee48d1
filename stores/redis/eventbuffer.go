package redis

import "sync"

// mailboxSize is how many messages are kept for a watcher who is slow.
const eventBufferSize = 4096

// mailbox keeps what was received until the watcher has time. When it is full, or
// messages were lost elsewhere, it is behind: what it has then means nothing, and it
// keeps nothing until a restart.
type eventBuffer struct {
	ready chan struct{} // tells that there is something new

	mu         sync.Mutex
	messages   []any // stores.Event and report
	behind     bool
	subscribed bool  // messages come in
	err        error // why not, if that is known
}

func newEventBuffer() *eventBuffer { return &eventBuffer{ready: make(chan struct{}, 1), behind: true} }

// keep adds a message.
func (m *eventBuffer) add(message any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.behind {
		return
	}
	if m.messages = append(m.messages, message); len(m.messages) > eventBufferSize {
		m.behind, m.messages = true, nil
	}
	notify(m.ready)
}

// open notes that messages come in from now on.
func (m *eventBuffer) connected() { m.set(true, nil) }

// shut notes that no messages come in.
func (m *eventBuffer) disconnected(why error) { m.set(false, why) }

func (m *eventBuffer) set(hearing bool, broken error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subscribed, m.err = hearing, broken
	m.behind, m.messages = true, nil
	notify(m.ready)
}

// lose notes that messages were lost.
func (m *eventBuffer) markLost() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.behind, m.messages = true, nil
}

// restart lets messages be kept again, if they come in; else it tells why not, if that is
// known.
func (m *eventBuffer) restart() (hearing bool, broken error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.behind = !m.subscribed
	return m.subscribed, m.err
}

// next returns the next message, nil if there is none, or errBehind.
func (m *eventBuffer) next() (any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.behind {
		return nil, errMessagesLost
	}
	if len(m.messages) == 0 {
		return nil, nil
	}
	message := m.messages[0]
	m.messages = m.messages[1:]
	return message, nil
}
