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

// Code is RTM's number of an outcome, to be found with errors.Is.
type Code int32

// The codes that occur. Those that begin with 14 are of locks.
const (
	ErrNotLogin            Code = -10002 // the user is not logged in any more
	ErrInvalidToken        Code = -10005 // Mortise asks for another bearer token
	ErrInvalidUserID       Code = -10006
	ErrInvalidChannelName  Code = -10008
	ErrInvalidParameter    Code = -10014
	ErrInvalidChannelType  Code = -10019
	ErrServiceNotSupported Code = -10022 // Mortise, or its store, has no such locks
	ErrNotConnected        Code = -10025 // Mortise cannot be reached
	ErrDuplicateUserID     Code = -10027 // the user has logged in elsewhere
	ErrOperationFailed     Code = -14001 // the channel has as many locks as it may have; or whatever has no code of its own
	ErrOperationTimeout    Code = -14002 // no answer in ten seconds, or until ctx's deadline
	ErrPerforming          Code = -14003 // the user holds the lock, or waits for it
	ErrLockAlreadyExist    Code = -14004
	ErrInvalidLockName     Code = -14005
	ErrLockNotAcquired     Code = -14006 // nobody holds it, or somebody else does
	ErrAcquireFailed       Code = -14007 // somebody else holds it; or the wait has been given up
	ErrLockNotExist        Code = -14008
	ErrLockNotAvailable    Code = -14009 // there is no such component, or its storage does not answer or refuses the operation
)

// codeNames are those of the proto's table.
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

// Error returns number and name: "-14008 LOCK_NOT_EXIST".
func (c Code) Error() string {
	if name, ok := codeNames[c]; ok {
		return fmt.Sprintf("%d %s", int(c), name)
	}
	return fmt.Sprint(int(c))
}

// Why a [Lock] has ended, to be found with errors.Is in its Err. Those that are losses
// are a [client.ErrLost] too.
var (
	ErrReleased = errors.New("it was released")                                   // by this User
	ErrRevoked  = fmt.Errorf("%w: it was revoked", client.ErrLost)                // or released by another program of the same user
	ErrRemoved  = fmt.Errorf("%w: it was removed", client.ErrLost)                // the lock does not exist any more
	ErrExpired  = fmt.Errorf("%w: the user was offline too long", client.ErrLost) // or may have been
)

// Error is an operation that failed. It matches its Code with errors.Is; ctx's Err if ctx
// has ended; and if the user is logged out, what [User.Err] says. status.FromError finds
// the gRPC status if there was one.
type Error struct {
	Code      Code
	Operation string // RTM's name of it: "RTMSetLockOperation"
	Reason    string // for people

	cause       error // or nil
	interrupted bool  // a ctx has ended, which is the cause, and there is no answer
}

// Error tells everything.
func (e *Error) Error() string {
	return fmt.Sprintf("mortise: %s: %s (%v)", e.Operation, e.Reason, e.Code)
}

// Unwrap makes errors.Is find the code and the cause.
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

// timerSlack is how far the server's timer, or gRPC's, may run ahead of that of the same
// ctx.
const timerSlack = 50 * time.Millisecond

// explain makes an Error of that of an RPC that was made with ctx; nil stays nil. If ctx
// has ended, that is the reason, whatever gRPC tells.
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

// streamEnded is what it means that a stream ends well: a session is ended so when the user is
// logged out by another program.
func streamEnded(op string) error {
	if op == opSession {
		return &Error{Code: ErrNotLogin, Operation: op, Reason: "by a Logout elsewhere"}
	}
	return &Error{Code: ErrNotConnected, Operation: op, Reason: "the stream ended"}
}

// interrupted is what becomes of an operation whose ctx has ended for that cause.
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

// asOperation returns the error of an operation that was part of another, as an error of that
// one.
func asOperation(op string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		part := *e
		part.Operation = op
		return &part
	}
	return err
}

// reasonText is what an error tells people, without what another has around it.
func reasonText(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return err.Error()
}

// errorFromStatus reads the status of an RPC.
func errorFromStatus(op string, err error) *Error {
	s := status.Convert(err)
	for _, detail := range s.Details() {
		if said, ok := detail.(*rtmpb.Status); ok {
			return &Error{Code: Code(said.GetErrorCode()), Operation: said.GetOperation(), Reason: said.GetReason(), cause: err}
		}
	}
	return &Error{Code: codeFromGRPC(s.Code()), Operation: op, Reason: s.Message(), cause: err}
}

// codeFromGRPC is what a status means that the service itself has not made.
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

// isTransient reports whether the same request may soon have another answer, because Mortise
// or its storage cannot be reached. It may not if the storage answered and refuses the
// operation.
func isTransient(err error) bool {
	if errors.Is(err, ErrLockNotAvailable) && status.Code(err) == codes.FailedPrecondition {
		return false
	}
	return errors.Is(err, ErrNotConnected) || errors.Is(err, ErrLockNotAvailable) || errors.Is(err, ErrOperationTimeout)
}

// isNotGranted tells whether it is sure after the error of an AcquireLock that the server has
// not granted the lock. It is not if the answer did not come, or says that the storage
// did not answer. A cause that the caller gave his ctx says nothing, though it may be
// what a server answered somebody else.
func isNotGranted(err error) bool {
	e, _ := errors.AsType[*Error](err)
	return !e.interrupted && !isTransient(err) && e.Code != ErrOperationFailed
}
