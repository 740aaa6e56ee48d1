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
	// awayTimeout is how long a call waits for a component that is away, because it is
	// being restarted for example.
	reconnectTimeout = 3 * time.Second

	// maxReconnectDelay is the longest pause between attempts to connect, but for a
	// jitter of a fifth. It is less than half of awayTimeout, so a call finds a component
	// that has come back, however long that was away.
	maxReconnectDelay = time.Second
)

// dialOptions are what a lock store's connection has beyond other pluggable components'.
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
		grpc.WithResolvers(defaultUnix), // the bounds here replace those of unixBuilder
		// Discovery's dialer blocks until it is connected. Like every other, that
		// connection is waited for, instead of given up at the first refusal; and if it
		// does not come, the error says why.
		grpc.FailOnNonTempDialError(false),
		grpc.WithReturnConnectionError(),
	}
}

// dialWithin returns a dialer that gives up when ctx ends or awayTimeout has passed,
// whichever is first. The context that it is called with, the connector's own, has no
// deadline.
func dialWithin(ctx context.Context, dial pluggable.GRPCConnectionDialer) pluggable.GRPCConnectionDialer {
	return func(_ context.Context, name string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
		ctx, cancel := context.WithTimeout(ctx, reconnectTimeout)
		defer cancel()
		return dial(ctx, name, opts...)
	}
}

// awaitConnection holds a request back while there is no connection to the component, for
// awayTimeout at most. gRPC's own WaitForReady would do so without a bound, or with one
// for the call as a whole.
//
// A request that was sent is not repeated: nobody knows what became of it. One that found
// no connection to go out by, because it was lost that moment, goes back to waiting, so a
// component that stops gracefully loses no calls.
func awaitConnection(
	ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	waitCtx, cancel := context.WithTimeout(ctx, reconnectTimeout)
	defer cancel()
	for awaitReady(waitCtx, conn) {
		var receiver peer.Peer // stays empty unless the request is given to a connection
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

// awaitReady tells whether conn is connected before ctx ends. It does not wait for one
// that is closed.
func awaitReady(ctx context.Context, conn *grpc.ClientConn) bool {
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if state == connectivity.Shutdown {
			return false
		}
		conn.Connect() // has an effect on an idle connection only
		if !conn.WaitForStateChange(ctx, state) {
			return false
		}
	}
	return true
}
