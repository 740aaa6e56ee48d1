package rtm

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

// Session keeps the user online while the stream is open, and sends the events of the
// user's locks.
func (s *Service) Session(m *rtmpb.SessionRequest, stream grpc.ServerStreamingServer[rtmpb.LockEvent]) error {
	return statusError("RTMSessionOperation", s.session(stream.Context(), m, stream.Send))
}

func (s *Service) session(ctx context.Context, m *rtmpb.SessionRequest, send func(*rtmpb.LockEvent) error) error {
	u, claims, err := s.readClaims(ctx, m)
	if err != nil {
		return err
	}
	return s.hubs.use(ctx, u.store, func(h *hub) error {
		f := h.login(u.name)
		defer h.endSession(u.name, f)
		// After the login, so that no event is missed between the two.
		_, wrong, err := s.checkClaims(ctx, u, claims)
		if err != nil {
			return err
		}
		h.sendExpired(f, wrong)
		return h.stream(ctx, f, send)
	})
}

// KeepAlive renews all locks of the user for their TTL. Users with a session need not
// call it, because their locks do not expire.
func (s *Service) KeepAlive(ctx context.Context, m *rtmpb.KeepAliveRequest) (*rtmpb.KeepAliveResponse, error) {
	response := &rtmpb.KeepAliveResponse{}
	return response, statusError("RTMKeepAliveOperation", s.keepAlive(ctx, m, response))
}

func (s *Service) keepAlive(ctx context.Context, m *rtmpb.KeepAliveRequest, response *rtmpb.KeepAliveResponse) error {
	u, claims, err := s.readClaims(ctx, m)
	if err != nil {
		return err
	}
	return s.hubs.use(ctx, u.store, func(h *hub) error {
		renewed := h.recentlyRenewed(u.name)
		right, wrong, err := s.checkClaims(ctx, u, except(claims, renewed))
		if err != nil {
			return err
		}
		lease := offlineLease
		if h.isOnline(u.name) {
			lease = onlineLease
		}
		rest := except(dedupe(append(h.heldLocks(u.name), right...)), renewed)
		kept, err := h.renew(ctx, rest, lease)
		response.Locks, response.Expired = detailsWithChannel(append(renewed, kept...)), detailsWithChannel(wrong)
		return err
	})
}

// Logout ends the user's session and waits for locks.
func (s *Service) Logout(ctx context.Context, m *rtmpb.LogoutRequest) (*rtmpb.LogoutResponse, error) {
	return &rtmpb.LogoutResponse{}, statusError("RTMLogoutOperation", s.logout(ctx, m))
}

func (s *Service) logout(ctx context.Context, m *rtmpb.LogoutRequest) error {
	u, err := s.userOf(ctx, m)
	if err != nil {
		return err
	}
	s.waiting.cancel(u)
	return s.hubs.use(ctx, u.store, func(h *hub) error {
		wasOnline := h.logout(u.name)
		if m.GetRelease() {
			return h.release(ctx, h.heldLocks(u.name))
		}
		if wasOnline {
			err = h.goOffline(ctx, u.name)
		}
		return err
	})
}

// login starts a session of the user and returns its feed. It ends an earlier session of
// the user.
func (h *hub) login(name string) *feed {
	h.mu.Lock()
	defer h.mu.Unlock()
	if earlier := h.sessions[name]; earlier != nil {
		earlier.end(errReplaced)
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
		e.Locks = append(e.Locks, l.detailWithChannel())
	}
	return e
}

// sendExpired adds EXPIRED events for locks that the user lost before the session began.
// It skips locks whose loss the Watch has yet to report.
func (h *hub) sendExpired(f *feed, lost []heldLock) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range lost {
		if l := h.locks[o.key()]; l != nil && l.owner == o.owner && l.rev == o.rev {
			continue
		}
		f.add(o.event(rtmpb.LockEvent_EXPIRED))
	}
}
