package rtm

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	"github.com/mortise-lock/mortise/component/rtm/presence"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

// code is one of RTM's error codes.
type code struct {
	number int32
	name   string // without the prefix that it has in RTM's C headers
	text   string // description, to which details are appended
	grpc   codes.Code
}

// The codes that the service returns. RTM's clients have others.
var (
	notLogin           = &code{-10002, "NOT_LOGIN", "no user is logged in", codes.Unauthenticated}
	invalidUserID      = &code{-10006, "INVALID_USER_ID", "invalid user", codes.InvalidArgument}
	invalidChannelName = &code{-10008, "INVALID_CHANNEL_NAME", "invalid channel name", codes.InvalidArgument}
	invalidParameter   = &code{-10014, "INVALID_PARAMETER", "invalid parameter", codes.InvalidArgument}
	invalidChannelType = &code{-10019, "INVALID_CHANNEL_TYPE", "invalid channel type", codes.InvalidArgument}
	notSupported       = &code{-10022, "SERVICE_NOT_SUPPORTED", "the store does not support channel locks", codes.Unimplemented}
	duplicateUserID    = &code{-10027, "DUPLICATE_USER_ID", "the user has opened another session", codes.Aborted}

	lockOperationFailed     = &code{-14001, "LOCK_OPERATION_FAILED", "the channel has reached its limit of locks", codes.ResourceExhausted}
	lockOperationTimeout    = &code{-14002, "LOCK_OPERATION_TIMEOUT", "the operation timed out", codes.DeadlineExceeded}
	lockOperationPerforming = &code{-14003, "LOCK_OPERATION_PERFORMING", "the user already holds or waits for the lock", codes.FailedPrecondition}
	lockAlreadyExist        = &code{-14004, "LOCK_ALREADY_EXIST", "the lock already exists", codes.AlreadyExists}
	lockInvalidName         = &code{-14005, "LOCK_INVALID_NAME", "invalid lock name", codes.InvalidArgument}
	lockNotAcquired         = &code{-14006, "LOCK_NOT_ACQUIRED", "the lock is not held by this owner", codes.FailedPrecondition}
	lockAcquireFailed       = &code{-14007, "LOCK_ACQUIRE_FAILED", "the lock was not acquired", codes.Aborted}
	lockNotExist            = &code{-14008, "LOCK_NOT_EXIST", "the lock does not exist", codes.NotFound}
	lockNotAvailable        = &code{-14009, "LOCK_NOT_AVAILABLE", "locks are not available", codes.Unavailable}

	// lockRefused is lockNotAvailable for calls that cannot succeed when retried.
	lockRefused = &code{-14009, "LOCK_NOT_AVAILABLE", "locks are not available", codes.FailedPrecondition}
)

// Errors of operations, beside those of stores.
var (
	errHeld      = errors.New("another owner holds it")
	errLoggedOut = errors.New("user has logged out")
)

// errorCodes maps errors to RTM's codes. The first row that matches applies.
var errorCodes = []struct {
	is   error
	code *code
}{
	{stores.ErrNotDeclared, lockNotExist},
	{stores.ErrDeclared, lockAlreadyExist},
	{stores.ErrLimit, lockOperationFailed},
	{stores.ErrRepeated, lockOperationPerforming},
	{stores.ErrGaveUp, lockAcquireFailed},
	{stores.ErrNotHeld, lockNotAcquired},
	{stores.ErrNotOwner, lockNotAcquired},
	{stores.ErrUnsupported, notSupported},
	{stores.ErrClosed, lockNotAvailable},
	{instances.ErrNotInitialized, lockNotAvailable},
	{instances.ErrAmbiguous, lockRefused},
	{stores.ErrRefused, lockRefused},
	{stores.ErrNotLock, lockRefused},
	{errHeld, lockAcquireFailed},
	{errLoggedOut, lockAcquireFailed},
	{presence.ErrReplaced, duplicateUserID},
	{context.DeadlineExceeded, lockOperationTimeout},
	{context.Canceled, lockOperationTimeout},
}

// fieldError is an error about a field, with its code.
type fieldError struct {
	*code
	stores.FieldError
}

// Unwrap returns the error about the field.
func (e *fieldError) Unwrap() error { return &e.FieldError }

// invalid returns an error about a field. The problem is the rest of a sentence whose
// subject is the field.
func invalid(c *code, field, problem string) error {
	return &fieldError{c, stores.FieldError{Field: field, Problem: problem}}
}

// InvalidParameter returns an error with the code INVALID_PARAMETER about a field. The
// problem is the rest of a sentence whose subject is the field.
func InvalidParameter(field, problem string) error { return invalid(invalidParameter, field, problem) }

// InvalidChannelType is like InvalidParameter, with the code INVALID_CHANNEL_TYPE.
func InvalidChannelType(field, problem string) error {
	return invalid(invalidChannelType, field, problem)
}

// codeOf returns the code of an error. Errors that are not in the table are the
// storage's.
func codeOf(err error) *code {
	if bad, ok := errors.AsType[*fieldError](err); ok {
		return bad.code
	}
	for _, row := range errorCodes {
		if errors.Is(err, row.is) {
			return row.code
		}
	}
	return lockNotAvailable
}

// StatusError returns the gRPC status of an operation's error, or nil if err is nil.
func StatusError(operation string, err error) error {
	if err == nil {
		return nil
	}
	c := codeOf(err)
	reason := c.text + ": " + err.Error()
	grpc := c.grpc
	if errors.Is(err, context.Canceled) {
		grpc = codes.Canceled
	}
	s := status.New(grpc, reason)
	detailed, failed := s.WithDetails(
		&rtmpb.Status{ErrorCode: c.number, Operation: operation, Reason: reason},
		&errdetails.ErrorInfo{Domain: rpcstatus.Domain, Reason: c.name},
	)
	if failed != nil {
		return s.Err() // the text is not valid UTF-8
	}
	return detailed.Err()
}
