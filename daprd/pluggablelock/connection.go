package pluggablelock

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/dapr/dapr/pkg/components/pluggable"
)

const (
	// reconnectTimeout is how long a call waits for the connection to a component, for
	// example while the component restarts.
	reconnectTimeout = 3 * time.Second

	// maxReconnectDelay is the longest pause between attempts to connect, plus a jitter
	// of a fifth. It is less than half of reconnectTimeout, so that a call reaches a
	// restarted component, however long the component was stopped.
	maxReconnectDelay = time.Second
)

// dialOptions returns the options of a lock store's connection in addition to those of
// other pluggable components.
func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay:  100 * time.Millisecond,
				Multiplier: 1.6,
				Jitter:     0.2,
				MaxDelay:   maxReconnectDelay,
			},
			MinConnectTimeout: reconnectTimeout, // for one attempt
		}),
		grpc.WithChainUnaryInterceptor(awaitConnection),
		grpc.WithResolvers(defaultUnix), // the timeouts here replace that of unixBuilder
		// Discovery's dialer blocks until it is connected. It retries like every other
		// connection, instead of failing at the first refusal, and a timeout returns the
		// cause.
		grpc.FailOnNonTempDialError(false),
		grpc.WithReturnConnectionError(),
	}
}

// dialWithin returns a dialer that fails when ctx ends or after reconnectTimeout,
// whichever is first. It ignores the context of the connector, which has no deadline.
func dialWithin(ctx context.Context, dial pluggable.GRPCConnectionDialer) pluggable.GRPCConnectionDialer {
	return func(_ context.Context, name string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
		ctx, cancel := context.WithTimeout(ctx, reconnectTimeout)
		defer cancel()
		return dial(ctx, name, opts...)
	}
}

// awaitConnection is an interceptor that waits for a connection to the component, for at
// most reconnectTimeout, before it sends a request. gRPC's own WaitForReady has no
// timeout, or one for the call as a whole.
//
// A request that was sent is not repeated, because its outcome is unknown. A request that
// was not sent, because the connection was lost in that moment, waits again, so that a
// component that stops gracefully loses no calls.
func awaitConnection(
	ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	waitCtx, cancel := context.WithTimeout(ctx, reconnectTimeout)
	defer cancel()
	for awaitReady(waitCtx, conn) {
		var receiver peer.Peer // remains empty unless a connection accepts the request
		err := invoke(ctx, method, req, reply, conn, append(opts, grpc.Peer(&receiver))...)
		if receiver.Addr != nil || status.Code(err) != codes.Unavailable {
			return err
		}
	}

	switch err := ctx.Err(); {
	case err != nil:
		return status.Errorf(status.FromContextError(err).Code(), "no connection to component at %s: %v", conn.Target(), err)
	case conn.GetState() == connectivity.Shutdown:
		return status.Error(codes.Canceled, "connection to component is closed")
	default:
		return status.Errorf(codes.Unavailable, "no connection to component at %s for %v", conn.Target(), reconnectTimeout)
	}
}

// awaitReady waits until conn is connected, and reports whether it is. It returns false
// if ctx ends or conn is closed.
func awaitReady(ctx context.Context, conn *grpc.ClientConn) bool {
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if state == connectivity.Shutdown {
			return false
		}
		conn.Connect() // affects idle connections only
		if !conn.WaitForStateChange(ctx, state) {
			return false
		}
	}
	return true
}
