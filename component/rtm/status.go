package rtm

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

// code is one of RTM's error codes.
type code struct {
	number int32
	name   string // without the prefix that C's headers have
	text   string // for people; what is known besides goes behind it
	grpc   codes.Code
}

// The codes that occur. RTM has others, for what happens in its clients.
var (
	notLogin           = &code{-10002, "NOT_LOGIN", "no user is logged in", codes.Unauthenticated}
	invalidUserID      = &code{-10006, "INVALID_USER_ID", "bad user", codes.InvalidArgument}
	invalidChannelName = &code{-10008, "INVALID_CHANNEL_NAME", "bad channel", codes.InvalidArgument}
	invalidParameter   = &code{-10014, "INVALID_PARAMETER", "bad parameter", codes.InvalidArgument}
	invalidChannelType = &code{-10019, "INVALID_CHANNEL_TYPE", "bad type of channel", codes.InvalidArgument}
	notSupported       = &code{-10022, "SERVICE_NOT_SUPPORTED", "the store cannot keep such locks", codes.Unimplemented}
	duplicateUserID    = &code{-10027, "DUPLICATE_USER_ID", "the user has logged in elsewhere", codes.Aborted}

	lockOperationFailed     = &code{-14001, "LOCK_OPERATION_FAILED", "the channel has as many locks as it may have", codes.ResourceExhausted}
	lockOperationTimeout    = &code{-14002, "LOCK_OPERATION_TIMEOUT", "the operation took too long", codes.DeadlineExceeded}
	lockOperationPerforming = &code{-14003, "LOCK_OPERATION_PERFORMING", "the user has the lock or waits for it already", codes.FailedPrecondition}
	lockAlreadyExist        = &code{-14004, "LOCK_ALREADY_EXIST", "the lock exists already", codes.AlreadyExists}
	lockInvalidName         = &code{-14005, "LOCK_INVALID_NAME", "bad name of a lock", codes.InvalidArgument}
	lockNotAcquired         = &code{-14006, "LOCK_NOT_ACQUIRED", "the lock is not held by this owner", codes.FailedPrecondition}
	lockAcquireFailed       = &code{-14007, "LOCK_ACQUIRE_FAILED", "the lock was not acquired", codes.Aborted}
	lockNotExist            = &code{-14008, "LOCK_NOT_EXIST", "the lock does not exist", codes.NotFound}
	lockNotAvailable        = &code{-14009, "LOCK_NOT_AVAILABLE", "locks are not available", codes.Unavailable}

	// lockRefused is lockNotAvailable where repeating the call cannot succeed.
	lockRefused = &code{-14009, "LOCK_NOT_AVAILABLE", "locks are not available", codes.FailedPrecondition}
)

// What operations find out by themselves.
var (
	errHeld      = errors.New("somebody else holds it")
	errLoggedOut = errors.New("user has logged out")
	errReplaced  = errors.New("user has opened another session")
	errSlow      = errors.New("took too long")
)

// outcomes is the one table from an error to RTM's code: the first row that matches
// counts.
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
	{errReplaced, duplicateUserID},
	{errSlow, lockOperationTimeout},
	{context.DeadlineExceeded, lockOperationTimeout},
	{context.Canceled, lockOperationTimeout},
}

// fieldError is a field that is out of bounds, with the code for it.
type fieldError struct {
	*code
	stores.FieldError
}

// Unwrap lets callers find the field.
func (e *fieldError) Unwrap() error { return &e.FieldError }

func invalid(c *code, field, fault string) error {
	return &fieldError{c, stores.FieldError{Field: field, Problem: fault}}
}

// codeOf is the code of an error. What is in no table is the storage's trouble.
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

// failure is the gRPC status of an operation's error, as an error; nil stays nil.
func statusError(operation string, err error) error {
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
		return s.Err() // the text is no text
	}
	return detailed.Err()
}
