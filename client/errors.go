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

// Outcomes, for errors.Is. An error that an ended ctx causes also wraps ctx.Err; an error
// from the server wraps its gRPC status, for status.FromError.
var (
	// ErrLocked reports that another owner holds the lock, and still holds it when the
	// time to wait has passed.
	ErrLocked = errors.New("lock is held")
	// ErrLost reports that a lease ended before its Unlock: the lock expired, was revoked
	// or was lost with its store, and another owner may hold it. It is also returned if
	// the client cannot find out because a connection broke.
	ErrLost = errors.New("lock is lost")
	// ErrNotHeld reports that there is nothing to release: a second Unlock, or a Revoke
	// of a lock that the owner does not hold.
	ErrNotHeld = errors.New("lock is not held")
	// ErrUnavailable reports that Mortise, or the storage behind it, does not respond.
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
	// ErrUnsupported reports that the store does not support the operation.
	ErrUnsupported = errors.ErrUnsupported
)

// domain is the domain of Mortise's reasons in ErrorInfo.
const domain = "mortise"

// timerSlack is the most by which the server's timer or gRPC's may fire before the timer
// of the same ctx.
const timerSlack = 50 * time.Millisecond

// Reasons that the client handles.
const (
	notHeld        = "NOT_HELD"
	notOwner       = "NOT_OWNER"
	notInitialized = "NOT_INITIALIZED"
	storeError     = "STORE_ERROR"
	storeRefused   = "STORE_REFUSED"
	notLock        = "NOT_A_LOCK"
)

// outcomes maps the server's reasons to the errors of this package. Any other reason is
// reported as its gRPC status alone.
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

// rpcError is the error of an RPC.
type rpcError struct {
	err     error  // with the gRPC status
	outcome error  // the outcome, or nil
	reason  string // the server's, or empty
	code    codes.Code
}

// Error returns the outcome, and the server's message where the outcome alone does not
// explain the failure.
func (e *rpcError) Error() string {
	message := status.Convert(e.err).Message()
	switch {
	case e.outcome == nil || errors.Is(e.outcome, ErrRefused):
		return message
	case e.timedOut():
		return e.outcome.Error() + ": Mortise did not respond in time"
	case errors.Is(e.outcome, ErrUnavailable):
		return e.outcome.Error() + ": " + message
	}
	return e.outcome.Error()
}

// timedOut reports whether the deadline of the RPC passed without a response. gRPC
// reports that in several ways; one is a reset stream.
func (e *rpcError) timedOut() bool {
	return errors.Is(e.outcome, ErrUnavailable) && e.reason == "" && (e.code == codes.DeadlineExceeded || e.code == codes.Canceled)
}

// Unwrap returns the outcome, for errors.Is, and the gRPC error, for status.FromError.
func (e *rpcError) Unwrap() []error {
	if e.outcome == nil {
		return []error{e.err}
	}
	return []error{e.outcome, e.err}
}

// explain converts the error of an RPC that was made with ctx to an outcome. If ctx has
// ended, the result wraps ctx's error, whatever gRPC reports, followed by the storage's
// error, or by gRPC's error if Mortise is unreachable.
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

// contextError returns why ctx has ended, or nil: its Err, and its cause if that differs.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || errors.Is(cause, err) {
		return err
	}
	return withCause(err, cause)
}

// withCause wraps an error and its cause; err may be nil.
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

// isNotHeld reports whether the server responded that the owner does not hold the lock,
// or that the key now holds data of another program.
func isNotHeld(err error) bool {
	var a *rpcError
	return errors.As(err, &a) && (a.reason == notHeld || a.reason == notOwner || a.reason == notLock)
}

// isFinal reports whether the error of a request proves that the request was not granted.
// STORE_REFUSED does not: a storage may apply the first part of an operation and reject
// the last.
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

// wrapOp adds the operation and the quoted resource to an error.
func wrapOp(op, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("mortise: %s %s: %w", op, what, err)
}
