package component

import (
	"context"
	"time"

	"google.golang.org/grpc"
)

// answerTime is how long before its deadline the work of a call ends at most, so that the
// answer reaches the client before that stops waiting for it. It is less than the
// client's timerSlack.
const replyMargin = 25 * time.Millisecond

// answerInTime is an interceptor that ends calls a little before their deadline: by a
// tenth of the time that is left, at most by answerTime. What a storage said last is then
// in the answer, and not lost with it.
func shortenDeadline(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return handle(ctx, req)
	}
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-min(replyMargin, time.Until(deadline)/10)))
	defer cancel()
	return handle(ctx, req)
}
