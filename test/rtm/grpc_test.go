package rtm

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// openGRPC returns an API that is a gRPC connection. It has no socket, because a bubble's
// time does not advance while a goroutine reads from a socket.
func openGRPC(t testing.TB, service rtmpb.ChannelLocksServer) api {
	l := listen(t)
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	rtmpb.RegisterChannelLocksServer(server, service)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///pipe",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.dial(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return newTyped(conn)
}
