package rtm

import (
	"context"

	"google.golang.org/grpc"

	"github.com/mortise-lock/mortise/component/rtm/presence"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// Session keeps the user online while the stream is open, and sends the events of the
// user's locks.
func (s *Service) Session(m *rtmpb.SessionRequest, stream grpc.ServerStreamingServer[rtmpb.LockEvent]) error {
	return StatusError("RTMSessionOperation", s.session(stream.Context(), m, stream.Send))
}

func (s *Service) session(ctx context.Context, m *rtmpb.SessionRequest, send func(*rtmpb.LockEvent) error) error {
	u, claims, err := s.readClaims(ctx, m)
	if err != nil {
		return err
	}
	return s.presence.Session(ctx, u, claims, s.checker(u), send)
}

// KeepAlive renews all locks of the user for their TTL. Users with a session need not
// call it, because their locks do not expire.
func (s *Service) KeepAlive(ctx context.Context, m *rtmpb.KeepAliveRequest) (*rtmpb.KeepAliveResponse, error) {
	response := &rtmpb.KeepAliveResponse{}
	return response, StatusError("RTMKeepAliveOperation", s.keepAlive(ctx, m, response))
}

func (s *Service) keepAlive(ctx context.Context, m *rtmpb.KeepAliveRequest, response *rtmpb.KeepAliveResponse) error {
	u, claims, err := s.readClaims(ctx, m)
	if err != nil {
		return err
	}
	held, expired, err := s.presence.KeepAlive(ctx, u, claims, s.checker(u))
	response.Locks, response.Expired = presence.DetailsWithChannel(held), presence.DetailsWithChannel(expired)
	return err
}

// Logout ends the user's session and waits for locks.
func (s *Service) Logout(ctx context.Context, m *rtmpb.LogoutRequest) (*rtmpb.LogoutResponse, error) {
	return &rtmpb.LogoutResponse{}, StatusError("RTMLogoutOperation", s.logout(ctx, m))
}

func (s *Service) logout(ctx context.Context, m *rtmpb.LogoutRequest) error {
	u, err := s.userOf(ctx, m)
	if err != nil {
		return err
	}
	s.waiting.cancel(u)
	return s.presence.Logout(ctx, u, m.GetRelease())
}
