package rtm

import (
	"context"

	"google.golang.org/grpc"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// Subscribe sends a snapshot of the locks of a channel, and then each change.
func (s *Service) Subscribe(m *rtmpb.SubscribeRequest, stream grpc.ServerStreamingServer[rtmpb.LockEvent]) error {
	return StatusError("RTMSubscribeOperation", s.subscribe(stream.Context(), m, stream.Send))
}

func (s *Service) subscribe(ctx context.Context, m *rtmpb.SubscribeRequest, send func(*rtmpb.LockEvent) error) error {
	c, err := channelOf(m)
	if err != nil {
		return err
	}
	u, err := s.userOf(ctx, m)
	if err != nil {
		return err
	}
	return s.presence.Subscribe(ctx, u.Store, c, send)
}
