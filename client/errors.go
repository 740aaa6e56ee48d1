package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// Outcomes to be told apart with errors.Is. An error that comes from an ended ctx wraps
// ctx.Err too; one that comes from the server wraps its gRPC status, for
// status.FromError.
var (
	// ErrLocked reports that somebody else holds the lock, and still does when the time
	// to wait is over.
	ErrLocked = errors.New("lock is held")
	// ErrLost reports that a lease ended before its Unlock: the lock expired, was revoked
	// or vanished with its store, and somebody else may hold it. It is also told if a
	// broken connection makes it impossible to know.
	ErrLost = errors.New("lock is lost")
	// ErrNotHeld reports that there is nothing to give back: a second Unlock, or a Revoke
	// of a lock that the owner does not hold.
	ErrNotHeld = errors.New("lock is not held")
	// ErrUnavailable reports that Mortise, or the storage behind it, does not answer.
	ErrUnavailable = errors.New("locks are unavailable")
	// ErrDeadlock reports that waiting would never end: the lock is held by a lease that
	// ctx carries, by an owner that [Holding] names, or by an owner that waits for one of
	// these.
	ErrDeadlock = errors.New("waiting would be a deadlock")
	// ErrRefused reports that the storage answered and rejects the request until its
	// permissions or its configuration are changed. Waiting ends with it.
	ErrRefused = errors.New("storage refuses the operation")
	// ErrNotLock reports that the key holds data of another program that is not a lock.
	// Waiting ends with it.
	ErrNotLock = errors.New("key holds data that is not a lock")
	// ErrUnsupported reports that the store has no such ability.
	ErrUnsupported = errors.ErrUnsupported
)

// domain is the ErrorInfo domain of Mortise's reasons.
const domain = "mortise"

// timerSlack is how far the server's timer, or gRPC's, may run ahead of that of the same
// ctx.
const timerSlack = 50 * time.Millisecond

// Reasons on which the client decides by itself.
const (
	notHeld        = "NOT_HELD"
	notOwner       = "NOT_OWNER"
	notInitialized = "NOT_INITIALIZED"
	storeError     = "STORE_ERROR"
	storeRefused   = "STORE_REFUSED"
	notLock        = "NOT_A_LOCK"
)

// reasons map what the server says to what the caller sees. What is in no row is the gRPC
// status alone.
var outcomes = map[string]error{
	notHeld:         ErrNotHeld,
	notOwner:        fmt.Errorf("%w by this owner", ErrNotHeld),
	"DEADLOCK":      ErrDeadlock,
	notInitialized:  ErrUnavailable,
	"UNSUPPORTED":   ErrUnsupported,
	"SHUTTING_DOWN": ErrUnavailable,
	storeError:      ErrUnavailable,
	storeRefused:    ErrRefused,
	notLock:         ErrNotLock,
}

// answer is an error that came over the wire.
type rpcError struct {
	err     error  // with the gRPC status
	outcome error  // the outcome, or nil
	reason  string // the server's, or empty
	code    codes.Code
}

// Error tells the outcome, and the server's words where the outcome alone does not say
// what is wrong.
func (a *rpcError) Error() string {
	message := status.Convert(a.err).Message()
	switch {
	case a.outcome == nil || errors.Is(a.outcome, ErrRefused):
		return message
	case a.timedOut():
		return a.outcome.Error() + ": Mortise did not answer in time"
	case errors.Is(a.outcome, ErrUnavailable):
		return a.outcome.Error() + ": " + message
	}
	return a.outcome.Error()
}

// timedOut reports whether the deadline of the RPC passed without an answer. gRPC reports
// that in several ways, one of which is a stream that was reset.
func (a *rpcError) timedOut() bool {
	return errors.Is(a.outcome, ErrUnavailable) && a.reason == "" && (a.code == codes.DeadlineExceeded || a.code == codes.Canceled)
}

// Unwrap makes errors.Is find the outcome, and status.FromError the status.
func (a *rpcError) Unwrap() []error {
	if a.outcome == nil {
		return []error{a.err}
	}
	return []error{a.outcome, a.err}
}

// explain makes an outcome of the error of an RPC that was made with ctx. If ctx has
// ended, its error comes first, whatever gRPC reports, followed by the storage's own
// error, or by gRPC's if Mortise cannot be reached.
func (c *connection) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	a := &rpcError{err: err, code: status.Code(err)}
	a.reason = errorReason(err)
	a.outcome = outcomes[a.reason]
	if ended := contextError(ctx); ended != nil {
		state := c.grpc.GetState()
		switch {
		case a.reason == storeError || a.reason == storeRefused:
			return withCause(ended, a)
		case state == connectivity.TransientFailure || state == connectivity.Connecting:
			return withCause(ended, &rpcError{err: err, outcome: ErrUnavailable})
		}
		return ended
	}
	if c.closed() {
		return ErrClosed
	}
	if deadline, ok := ctx.Deadline(); ok && a.code == codes.DeadlineExceeded && time.Until(deadline) < timerSlack {
		return context.DeadlineExceeded
	}
	if a.outcome == nil && (a.code == codes.Unavailable || a.code == codes.DeadlineExceeded || a.code == codes.Canceled) {
		a.outcome = ErrUnavailable
	}
	return a
}

// ended returns why ctx has ended, or nil: its Err, and its cause if that says more.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || errors.Is(cause, err) {
		return err
	}
	return withCause(err, cause)
}

// because joins an error and what is behind it; err may be nil.
func withCause(err, cause error) error {
	if err == nil {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

func errorReason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == domain {
			return info.GetReason()
		}
	}
	return ""
}

// gone reports whether the server says that the owner does not hold the lock. A key that
// holds data of another program is not a lock any more.
func isNotHeld(err error) bool {
	var a *rpcError
	return errors.As(err, &a) && (a.reason == notHeld || a.reason == notOwner || a.reason == notLock)
}

// definite reports whether after the error of a request for a lock it is certain that the
// request was not granted. It is not after STORE_REFUSED: a storage may reject the last
// part of an operation and keep the first.
func isFinal(err error) bool {
	var a *rpcError
	if !errors.As(err, &a) || a.reason == storeRefused {
		return false
	}
	switch a.code {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.Unimplemented, codes.Unauthenticated, codes.PermissionDenied:
		return true
	}
	return false
}

// failed gives an error its place. what is the quoted resource.
func wrapOp(op, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("mortise: %s %s: %w", op, what, err)
}
