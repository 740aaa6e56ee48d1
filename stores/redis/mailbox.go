package redis

import "sync"

// mailboxSize is how many messages are kept for a watcher who is slow.
const mailboxSize = 4096

// mailbox keeps what was received until the watcher has time. When it is full, or
// messages were lost elsewhere, it is behind: what it has then means nothing, and it
// keeps nothing until a restart.
type mailbox struct {
	more chan struct{} // tells that there is something new

	mu       sync.Mutex
	messages []any // stores.Event and report
	behind   bool
	hearing  bool  // messages come in
	broken   error // why not, if that is known
}

func newMailbox() *mailbox { return &mailbox{more: make(chan struct{}, 1), behind: true} }

// keep adds a message.
func (m *mailbox) keep(message any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.behind {
		return
	}
	if m.messages = append(m.messages, message); len(m.messages) > mailboxSize {
		m.behind, m.messages = true, nil
	}
	poke(m.more)
}

// open notes that messages come in from now on.
func (m *mailbox) open() { m.set(true, nil) }

// shut notes that no messages come in.
func (m *mailbox) shut(why error) { m.set(false, why) }

func (m *mailbox) set(hearing bool, broken error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hearing, m.broken = hearing, broken
	m.behind, m.messages = true, nil
	poke(m.more)
}

// lose notes that messages were lost.
func (m *mailbox) lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.behind, m.messages = true, nil
}

// restart lets messages be kept again, if they come in; else it tells why not, if that is
// known.
func (m *mailbox) restart() (hearing bool, broken error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.behind = !m.hearing
	return m.hearing, m.broken
}

// next returns the next message, nil if there is none, or errBehind.
func (m *mailbox) next() (any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.behind {
		return nil, errBehind
	}
	if len(m.messages) == 0 {
		return nil, nil
	}
	message := m.messages[0]
	m.messages = m.messages[1:]
	return message, nil
}
