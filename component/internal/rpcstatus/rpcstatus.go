// Package rpcstatus converts errors to gRPC statuses with machine-readable details, for
// all APIs.
package rpcstatus

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/stores"
)

// Domain is the google.rpc.ErrorInfo domain of Mortise's reasons.
const Domain = "mortise"

// ErrUnauthenticated reports a call without a valid token.
var ErrUnauthenticated = errors.New("bearer token is missing or wrong")

// statusRows maps errors to codes and reasons; the first row that matches counts. The
// error's text becomes the status message.
var statusRows = []struct {
	is     error
	code   codes.Code
	reason string
}{
	{stores.ErrNotHeld, codes.FailedPrecondition, "NOT_HELD"},
	{stores.ErrNotOwner, codes.FailedPrecondition, "NOT_OWNER"},
	{stores.ErrDeadlock, codes.FailedPrecondition, "DEADLOCK"},
	{instances.ErrNotInitialized, codes.FailedPrecondition, "NOT_INITIALIZED"},
	{instances.ErrAmbiguous, codes.FailedPrecondition, "AMBIGUOUS"},
	{stores.ErrRefused, codes.FailedPrecondition, "STORE_REFUSED"},
	{stores.ErrNotLock, codes.FailedPrecondition, "NOT_A_LOCK"},
	{stores.ErrUnsupported, codes.Unimplemented, "UNSUPPORTED"},
	{stores.ErrClosed, codes.Unavailable, "SHUTTING_DOWN"},
	{stores.ErrUnreachable, codes.Unavailable, "STORE_ERROR"}, // even if ctx has ended
	{context.Canceled, codes.Canceled, "CANCELLED"},
	{context.DeadlineExceeded, codes.DeadlineExceeded, "TIMEOUT"},
	{ErrUnauthenticated, codes.Unauthenticated, "UNAUTHENTICATED"},
}

// Status returns the gRPC status of a call's error, as an error, or nil for nil. An error
// that is in no row of the table is one of the storage.
func Status(err error) error { return StatusOr(err, codes.Unavailable, "STORE_ERROR") }

// StatusOr is Status with the code and the reason of errors that are in no row.
func StatusOr(err error, code codes.Code, reason string) error {
	if err == nil {
		return nil
	}
	if bad, ok := errors.AsType[*stores.FieldError](err); ok {
		return Field(bad.Field, bad.Problem)
	}
	for _, row := range statusRows {
		if errors.Is(err, row.is) {
			code, reason = row.code, row.reason
			break
		}
	}
	return withDetail(status.New(code, err.Error()), &errdetails.ErrorInfo{Reason: reason, Domain: Domain})
}

// Field returns the status of a request with an invalid field, named as in the protocol.
func Field(field, problem string) error {
	violation := &errdetails.BadRequest_FieldViolation{Field: field, Description: problem}
	return withDetail(status.New(codes.InvalidArgument, field+" "+problem),
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{violation}})
}

// withDetail adds the detail. If the detail cannot be encoded, it returns the status
// without it.
func withDetail(s *status.Status, detail protoadapt.MessageV1) error {
	if detailed, err := s.WithDetails(detail); err == nil {
		return detailed.Err()
	}
	return s.Err()
}
