package rtm

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

// Session keeps the user online while the stream is open, and tells what happens to his
// locks.
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
		_, wrong, err := s.checkClaims(ctx, u, claims) // after the login, so that nothing goes unseen in between
		if err != nil {
			return err
		}
		h.sendExpired(f, wrong)
		return h.stream(ctx, f, send)
	})
}

// KeepAlive lets the TTL of all locks of the user count from now. If he has a session,
// they do not expire anyway.
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
		sure := h.recentlyRenewed(u.name)
		right, wrong, err := s.checkClaims(ctx, u, except(claims, sure))
		if err != nil {
			return err
		}
		lease := offlineLease
		if h.isOnline(u.name) {
			lease = onlineLease
		}
		rest := except(dedupe(append(h.heldLocks(u.name), right...)), sure)
		kept, err := h.renew(ctx, rest, lease)
		response.Locks, response.Expired = detailsWithChannel(append(sure, kept...)), detailsWithChannel(wrong)
		return err
	})
}

// Logout ends the user's session and his waiting for locks.
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

// login makes the user online. An earlier session of his ends.
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

// logout ends the user's session. It returns false if he has none.
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

// leave ends a session whose stream has ended, and lets the TTL of the user's locks count
// from now, unless he has logged out, or in again. If the Watch has failed it lets them
// be: another hub may have renewed them since.
func (h *hub) endSession(name string, f *feed) {
	h.mu.Lock()
	current := h.sessions[name] == f
	if current {
		h.setOffline(name)
	}
	failed := h.err != nil && !errors.Is(h.err, stores.ErrClosed)
	h.mu.Unlock()
	if current && !failed {
		_ = h.goOffline(context.Background(), name) // else they last as they were renewed to last
	}
}

// setOffline ends that the user's locks are renewed. The caller has locked mu.
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

// belongings tells the locks that the user holds.
func (h *hub) sessionSnapshot(name string) *rtmpb.LockEvent {
	e := &rtmpb.LockEvent{EventType: rtmpb.LockEvent_SNAPSHOT}
	for _, l := range sortedByName(h.held[name]) {
		e.Locks = append(e.Locks, l.detailWithChannel())
	}
	return e
}

// tellExpired tells a session what its user has lost before it, but for what the Watch is
// about to tell.
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
