package component

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"
)

// requestTimerKey is the context key of the timer that cancels a gRPC call whose request
// does not arrive.
type requestTimerKey struct{}

// requestDeadlineOptions returns the server options that cancel calls whose request does
// not arrive within requestTimeout, as net/http does. Without them a client without a
// token could keep any number of incomplete requests in the server's memory.
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

// startRequestDeadline returns the ctx of a call whose header has arrived.
func startRequestDeadline(ctx context.Context, _ *tap.Info) (context.Context, error) {
	ctx, cancel := context.WithCancel(ctx)
	return context.WithValue(ctx, requestTimerKey{}, time.AfterFunc(requestTimeout, cancel)), nil
}

// stopRequestDeadline lets a call whose request has arrived take any time.
func stopRequestDeadline(ctx context.Context) {
	if timer, ok := ctx.Value(requestTimerKey{}).(*time.Timer); ok {
		timer.Stop()
	}
}

// requestStream is a stream whose first message is its request.
type requestStream struct{ grpc.ServerStream }

// RecvMsg implements [grpc.ServerStream].
func (s requestStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		stopRequestDeadline(s.Context())
	}
	return err
}
