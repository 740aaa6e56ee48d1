package component

import (
	"context"
	"time"

	"google.golang.org/grpc"
)

// replyMargin is by how much the deadline of a call is shortened at most, so that the
// response reaches the client before the client's deadline. It is less than the client's
// timerSlack.
const replyMargin = 25 * time.Millisecond

// shortenDeadline is an interceptor that shortens the deadline of calls by a tenth of the
// time that is left, and at most by replyMargin. So a client whose deadline passes gets
// the last error of the storage and not just DEADLINE_EXCEEDED.
func shortenDeadline(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return handle(ctx, req)
	}
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-min(replyMargin, time.Until(deadline)/10)))
	defer cancel()
	return handle(ctx, req)
}
