package presence

import (
	"context"
	"errors"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

// ErrReplaced ends a session when the user opens another.
var ErrReplaced = errors.New("user has opened another session")

// login starts a session of the user and returns its feed. It ends an earlier session of
// the user.
func (h *hub) login(name string) *feed {
	h.mu.Lock()
	defer h.mu.Unlock()
	if earlier := h.sessions[name]; earlier != nil {
		earlier.end(ErrReplaced)
	}
	f := newFeed(func() *rtmpb.LockEvent { return h.sessionSnapshot(name) })
	h.sessions[name] = f
	for l := range h.entriesOf(name) {
		h.renewQueue.schedule(l)
	}
	return f
}

// logout ends the user's session. It reports whether there was one.
func (h *hub) logout(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.sessions[name]
	if f != nil {
		f.end(nil)
		h.setOffline(name)
	}
	return f != nil
}

// endSession ends the session of a stream that has ended, and renews the user's locks for
// their TTL, unless the user has logged out or opened another session. If the Watch has
// failed it does not change the locks, because another hub may have renewed them since.
func (h *hub) endSession(name string, f *feed) {
	h.mu.Lock()
	current := h.sessions[name] == f
	if current {
		h.setOffline(name)
	}
	failed := h.err != nil && !errors.Is(h.err, stores.ErrClosed)
	h.mu.Unlock()
	if current && !failed {
		_ = h.goOffline(context.Background(), name) // on failure the last leases remain
	}
}

// setOffline stops renewing the user's locks. The caller has locked mu.
func (h *hub) setOffline(name string) {
	delete(h.sessions, name)
	for l := range h.entriesOf(name) {
		h.renewQueue.Delete(l)
	}
}

func (h *hub) isOnline(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[name] != nil
}

// sessionSnapshot returns a snapshot of the locks that the user holds.
func (h *hub) sessionSnapshot(name string) *rtmpb.LockEvent {
	e := &rtmpb.LockEvent{EventType: rtmpb.LockEvent_SNAPSHOT}
	for _, l := range sortedByName(h.held[name]) {
		e.Locks = append(e.Locks, l.DetailWithChannel())
	}
	return e
}

// sendExpired adds EXPIRED events for locks that the user lost before the session began.
// It skips locks whose loss the Watch has yet to report.
func (h *hub) sendExpired(f *feed, lost []HeldLock) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range lost {
		if l := h.locks[o.Key()]; l != nil && l.Owner == o.Owner && l.Rev == o.Rev {
			continue
		}
		f.add(o.event(rtmpb.LockEvent_EXPIRED))
	}
}
