package rtm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/client"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// Code is an RTM error code, for errors.Is.
type Code int32

// The codes that occur. Those of the form -14xxx are about locks.
const (
	ErrNotLogin            Code = -10002 // the user is no longer logged in
	ErrInvalidToken        Code = -10005 // the bearer token is missing or wrong
	ErrInvalidUserID       Code = -10006
	ErrInvalidChannelName  Code = -10008
	ErrInvalidParameter    Code = -10014
	ErrInvalidChannelType  Code = -10019
	ErrServiceNotSupported Code = -10022 // Mortise or its store has no RTM locks
	ErrNotConnected        Code = -10025 // Mortise is unreachable
	ErrDuplicateUserID     Code = -10027 // the user has logged in elsewhere
	ErrOperationFailed     Code = -14001 // too many locks in the channel, or other errors
	ErrOperationTimeout    Code = -14002 // no response in ten seconds, or in ctx's time
	ErrPerforming          Code = -14003 // the user holds the lock or waits for it
	ErrLockAlreadyExist    Code = -14004
	ErrInvalidLockName     Code = -14005
	ErrLockNotAcquired     Code = -14006 // the lock is free, or another user holds it
	ErrAcquireFailed       Code = -14007 // another user holds the lock, or the wait ended
	ErrLockNotExist        Code = -14008
	ErrLockNotAvailable    Code = -14009 // no such component, or its storage fails
)

// codeNames are the names in rtm.proto.
var codeNames = map[Code]string{
	ErrNotLogin:            "NOT_LOGIN",
	ErrInvalidToken:        "INVALID_TOKEN",
	ErrInvalidUserID:       "INVALID_USER_ID",
	ErrInvalidChannelName:  "INVALID_CHANNEL_NAME",
	ErrInvalidParameter:    "INVALID_PARAMETER",
	ErrInvalidChannelType:  "INVALID_CHANNEL_TYPE",
	ErrServiceNotSupported: "SERVICE_NOT_SUPPORTED",
	ErrNotConnected:        "NOT_CONNECTED",
	ErrDuplicateUserID:     "DUPLICATE_USER_ID",
	ErrOperationFailed:     "LOCK_OPERATION_FAILED",
	ErrOperationTimeout:    "LOCK_OPERATION_TIMEOUT",
	ErrPerforming:          "LOCK_OPERATION_PERFORMING",
	ErrLockAlreadyExist:    "LOCK_ALREADY_EXIST",
	ErrInvalidLockName:     "LOCK_INVALID_NAME",
	ErrLockNotAcquired:     "LOCK_NOT_ACQUIRED",
	ErrAcquireFailed:       "LOCK_ACQUIRE_FAILED",
	ErrLockNotExist:        "LOCK_NOT_EXIST",
	ErrLockNotAvailable:    "LOCK_NOT_AVAILABLE",
}

// Error returns the number and the name: "-14008 LOCK_NOT_EXIST".
func (c Code) Error() string {
	if name, ok := codeNames[c]; ok {
		return fmt.Sprintf("%d %s", int(c), name)
	}
	return fmt.Sprint(int(c))
}

// Reasons for the end of a [Lock], for errors.Is with Lock.Err. Those that are losses
// also wrap [client.ErrLost].
var (
	// ErrReleased reports that this User released the lock.
	ErrReleased = errors.New("it was released")
	// ErrRevoked reports that the lock was revoked, or released by another program of the
	// same user.
	ErrRevoked = fmt.Errorf("%w: it was revoked", client.ErrLost)
	// ErrRemoved reports that the lock no longer exists.
	ErrRemoved = fmt.Errorf("%w: it was removed", client.ErrLost)
	// ErrExpired reports that the user was, or may have been, offline for the TTL.
	ErrExpired = fmt.Errorf("%w: the user was offline too long", client.ErrLost)
)

// Error is the error of a failed operation. errors.Is matches its Code; ctx's Err if ctx
// has ended; and [User.Err] if the user is logged out. status.FromError returns the gRPC
// status, if there was one.
type Error struct {
	Code      Code
	Operation string // RTM's name of the operation: "RTMSetLockOperation"
	Reason    string // a message for people

	cause       error // or nil
	interrupted bool  // cause is the end of a ctx, and there was no response
}

// Error returns the operation, the reason and the code.
func (e *Error) Error() string {
	return fmt.Sprintf("mortise: %s: %s (%v)", e.Operation, e.Reason, e.Code)
}

// Unwrap returns the code and the cause.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.cause}
}

// RTM's names of the operations.
const (
	opSession   = "RTMSessionOperation"
	opLogout    = "RTMLogoutOperation"
	opKeepAlive = "RTMKeepAliveOperation"
	opSubscribe = "RTMSubscribeOperation"
	opSet       = "RTMSetLockOperation"
	opAcquire   = "RTMAcquireOperation"
	opRelease   = "RTMReleaseLockOperation"
	opRevoke    = "RTMRevokeLockOperation"
	opGet       = "RTMGetLockOperation"
	opRemove    = "RTMRemoveLockOperation"
)

// timerSlack is the most by which the server's timer or gRPC's may fire before the timer
// of the same ctx.
const timerSlack = 50 * time.Millisecond

// explain converts the error of an RPC that was made with ctx to an Error; nil stays nil.
// If ctx has ended, that is the reason, whatever gRPC reports.
func (u *User) explain(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return interrupted(op, cause)
	}
	if u.conn.GetState() == connectivity.Shutdown {
		return &Error{Code: ErrNotLogin, Operation: op, Reason: client.ErrClosed.Error(), cause: client.ErrClosed}
	}
	if errors.Is(err, io.EOF) {
		return streamEnded(op)
	}
	e := errorFromStatus(op, err)
	if deadline, ok := ctx.Deadline(); ok && e.Code == ErrOperationTimeout && time.Until(deadline) < timerSlack {
		e.cause = context.DeadlineExceeded
	}
	return e
}

// streamEnded returns the error of a stream that ended without an error. The server ends
// a session so when another program logs the user out.
func streamEnded(op string) error {
	if op == opSession {
		return &Error{Code: ErrNotLogin, Operation: op, Reason: "another program logged the user out"}
	}
	return &Error{Code: ErrNotConnected, Operation: op, Reason: "the stream ended"}
}

// interrupted returns the error of an operation whose ctx has ended with the cause.
func interrupted(op string, cause error) *Error {
	code := ErrOperationFailed
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		code = ErrOperationTimeout
	case op == opAcquire:
		code = ErrAcquireFailed
	case errors.Is(cause, ErrNotLogin):
		code = ErrNotLogin
	}
	return &Error{Code: code, Operation: op, Reason: reasonText(cause), cause: cause, interrupted: true}
}

// interruptedWithReason is interrupted with the reason of the operation's last failure.
func interruptedWithReason(failure error, op string, cause error) error {
	err := interrupted(op, cause)
	err.Reason += ": " + reasonText(failure)
	return err
}

// asOperation returns err as the error of the operation op, of which the failed operation
// was a part.
func asOperation(op string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		part := *e
		part.Operation = op
		return &part
	}
	return err
}

// reasonText returns the text of an error; of an [Error] only its Reason.
func reasonText(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return err.Error()
}

// errorFromStatus converts the status of an RPC.
func errorFromStatus(op string, err error) *Error {
	s := status.Convert(err)
	for _, detail := range s.Details() {
		if d, ok := detail.(*rtmpb.Status); ok {
			return &Error{Code: Code(d.GetErrorCode()), Operation: d.GetOperation(), Reason: d.GetReason(), cause: err}
		}
	}
	return &Error{Code: codeFromGRPC(s.Code()), Operation: op, Reason: s.Message(), cause: err}
}

// codeFromGRPC returns the code of a status without an RTM status.
func codeFromGRPC(c codes.Code) Code {
	switch c {
	case codes.Unavailable:
		return ErrNotConnected
	case codes.Unauthenticated:
		return ErrInvalidToken
	case codes.Unimplemented:
		return ErrServiceNotSupported
	case codes.DeadlineExceeded:
		return ErrOperationTimeout
	}
	return ErrOperationFailed
}

// isTransient reports whether a retry may succeed, because Mortise or its storage was
// unreachable. It is false if the storage refused the operation.
func isTransient(err error) bool {
	if errors.Is(err, ErrLockNotAvailable) && status.Code(err) == codes.FailedPrecondition {
		return false
	}
	return errors.Is(err, ErrNotConnected) || errors.Is(err, ErrLockNotAvailable) || errors.Is(err, ErrOperationTimeout)
}

// isNotGranted reports whether the error of an AcquireLock proves that the server has not
// granted the lock. It does not if there was no response, or if the storage did not
// respond. The cause of an ended ctx proves nothing, even if it is the error of another
// request.
func isNotGranted(err error) bool {
	e, _ := errors.AsType[*Error](err)
	return !e.interrupted && !isTransient(err) && e.Code != ErrOperationFailed
}
