package component

import (
	"context"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"
)

// What follows bounds what those can cost who can connect and perhaps have no token, in
// connections, bytes and time.
const (
	// pingAfter and pongWithin are how a client is found that is gone without a word:
	// after their sum, with everything that it waited for. A Unix socket needs no such
	// thing, its end is always told. TCP itself asks in the same time, for clients of
	// HTTP, by so many probes.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 10 * time.Second
	keepaliveProbes  = 2

	// requestTimeout is how long a client may take to send a request, and to read an
	// answer. Waiting for a lock comes in between.
	requestTimeout = 10 * time.Second

	// idleTimeout is how long a connection stays on which nothing is asked for.
	idleTimeout = 2 * time.Minute

	// maxConnections bounds the connections of an endpoint. It is so large because
	// HTTP/1.1 has a connection for each who waits for a lock, and the one that would
	// free the lock must get one too.
	maxConnections = 1 << 14

	// spareFiles is the part of the files that a process may open which TCP leaves for
	// the socket and the stores: a quarter.
	reservedFileShare = 4

	// maxCalls bounds the calls under way on one connection. It is so large because a
	// call that waits for a lock counts, and the call that would free the lock must not
	// be kept waiting behind those.
	maxCalls = 1 << 16

	// maxHeader bounds the bytes of a call's metadata, which anybody can send who can
	// connect.
	maxHeader = 64 << 10

	// maxRequest bounds the bytes of a request of gRPC, which is read before its token is
	// looked at. The largest that is good, for as many keys as there may be, has less
	// than a tenth of that.
	maxRequest = 1 << 20

	// readBuffer is how many bytes gRPC reads at a time. Every connection has a buffer
	// for them, also one that says nothing.
	readBuffer = 4 << 10
)

// connections is how many connections each endpoint may have, if there are so many
// endpoints. More wait until one of those ends, and each endpoint has its own, so that
// who takes all of one's leaves the others'.
func connectionLimit(endpoints int) int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return maxConnections
	}
	return connectionShare(uint64(files.Cur), uint64(endpoints)) //nolint:unconvert // Cur is an int64 on FreeBSD
}

// share is an endpoint's share of the files that the process may open.
func connectionShare(files, endpoints uint64) int {
	return int(max(1, min(maxConnections, (files-files/reservedFileShare)/endpoints)))
}

// arrivalKey is that of the timer which cancels a call of gRPC whose request does not
// arrive.
type requestTimerKey struct{}

// timely are the options by which a request of gRPC has to arrive in as much time as one
// of HTTP. Without them a client could keep any number of them arriving, with no token,
// and the server what it has of each.
func requestDeadlineOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.InTapHandle(startRequestDeadline),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			stopRequestDeadline(ctx)
			return handle(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return handle(srv, requestStream{stream})
		}),
	}
}

// expect returns the ctx of a call whose header has arrived, and nothing else.
func startRequestDeadline(ctx context.Context, _ *tap.Info) (context.Context, error) {
	ctx, cancel := context.WithCancel(ctx)
	return context.WithValue(ctx, requestTimerKey{}, time.AfterFunc(requestTimeout, cancel)), nil
}

// arrived lets a call take as long as it likes from here on.
func stopRequestDeadline(ctx context.Context) {
	if timer, ok := ctx.Value(requestTimerKey{}).(*time.Timer); ok {
		timer.Stop()
	}
}

// arriving is a stream whose first message is its request.
type requestStream struct{ grpc.ServerStream }

// RecvMsg implements [grpc.ServerStream].
func (s requestStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		stopRequestDeadline(s.Context())
	}
	return err
}
