// Package rpcstatus turns errors into what a client of an API sees: a gRPC status, with a
// detail that its program can read.
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

// Domain is the google.rpc.ErrorInfo domain of our reasons.
const Domain = "mortise"

// ErrUnauthenticated reports a call without the proof that it may be made.
var ErrUnauthenticated = errors.New("bearer token is missing or wrong")

// reasons is the one table from an error to what a client sees: the first row that
// matches counts. The text of the error goes along as the status message.
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
	{stores.ErrUnreachable, codes.Unavailable, "STORE_ERROR"}, // also if ctx ended meanwhile
	{context.Canceled, codes.Canceled, "CANCELLED"},
	{context.DeadlineExceeded, codes.DeadlineExceeded, "TIMEOUT"},
	{ErrUnauthenticated, codes.Unauthenticated, "UNAUTHENTICATED"},
}

// Status is the gRPC status of a call's error, as an error; nil stays nil. What is in no
// table is the storage's trouble.
func Status(err error) error { return StatusOr(err, codes.Unavailable, "STORE_ERROR") }

// StatusOr is Status for calls where what is in no table means something else.
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

// Field is the status of a request with a bad field, by its name on the wire.
func Field(field, problem string) error {
	violation := &errdetails.BadRequest_FieldViolation{Field: field, Description: problem}
	return withDetail(status.New(codes.InvalidArgument, field+" "+problem),
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{violation}})
}

// withDetail adds the detail, or leaves the status as it is if that cannot be encoded.
func withDetail(s *status.Status, detail protoadapt.MessageV1) error {
	if detailed, err := s.WithDetails(detail); err == nil {
		return detailed.Err()
	}
	return s.Err()
}
