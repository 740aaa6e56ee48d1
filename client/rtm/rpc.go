package rtm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

const (
	// operationTimeout bounds every operation that does not wait for a lock, as in RTM's
	// clients.
	operationTimeout = 10 * time.Second
	// retryInterval is the least pause between two attempts, and half of the longest. It
	// matches the reconnections of the client.
	retryInterval = 100 * time.Millisecond
)

var errNoResponse = fmt.Errorf("no response in %v: %w", operationTimeout, context.DeadlineExceeded)

func withOperationTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, operationTimeout, errNoResponse)
}

// withSession returns a child of ctx that also ends when the user is logged out.
func (u *User) withSession(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(u.sessionCtx, func() { cancel(u.Err()) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// sleepBeforeRetry pauses before another attempt. It returns false if ctx has ended.
func sleepBeforeRetry(ctx context.Context) bool {
	timer := time.NewTimer(retryInterval + rand.N(retryInterval))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// method is an RPC of the generated client.
type method[Request, Response any] = func(context.Context, Request, ...grpc.CallOption) (Response, error)

// call makes a call that also ends when the user is logged out.
func call[Request proto.Message, Response any](
	ctx context.Context, u *User, op string, rpc method[Request, Response], request Request,
) (response Response, err error) {
	if err := validate(op, request); err != nil {
		return response, err
	}
	if u.Err() != nil {
		return response, &Error{Code: ErrNotLogin, Operation: op, Reason: reasonText(u.Err()), cause: u.Err()}
	}
	ctx, cancel := u.withSession(ctx)
	defer cancel()
	response, err = rpc(ctx, request)
	return response, u.explain(ctx, op, err)
}

// callWithTimeout is call, bounded by operationTimeout.
func callWithTimeout[Request proto.Message, Response any](
	ctx context.Context, u *User, op string, rpc method[Request, Response], request Request,
) (Response, error) {
	ctx, cancel := withOperationTimeout(ctx)
	defer cancel()
	return call(ctx, u, op, rpc, request)
}

// receive calls handle with each event of a stream until handle returns false, and then
// returns nil. It returns an error if the stream ends.
func receive[Request proto.Message](
	ctx context.Context, u *User, op string, open method[Request, grpc.ServerStreamingClient[rtmpb.LockEvent]], request Request,
	handle func(*rtmpb.LockEvent) bool,
) error {
	if err := validate(op, request); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	stream, err := open(ctx, request)
	for err == nil {
		var event *rtmpb.LockEvent
		if event, err = stream.Recv(); err == nil && !handle(event) {
			return nil
		}
	}
	return u.explain(ctx, op, err)
}

// validate returns an error if the request cannot be sent, because a name is not valid
// UTF-8.
func validate(op string, request proto.Message) error {
	if _, err := proto.Marshal(request); err != nil {
		return &Error{Code: ErrInvalidParameter, Operation: op, Reason: err.Error(), cause: err}
	}
	return nil
}
