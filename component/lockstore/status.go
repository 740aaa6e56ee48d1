package lockstore

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

// domain is the ErrorInfo domain of our reasons.
const domain = "mortise"

// reasons is the one table from an error to what a client sees: the first row that matches counts. The text of the error
// goes along as the status message.
var reasons = []struct {
	is     error
	code   codes.Code
	reason string
}{
	{instances.ErrNotInitialized, codes.FailedPrecondition, "NOT_INITIALIZED"},
	{stores.ErrUnsupported, codes.Unimplemented, "UNSUPPORTED"},
	{stores.ErrClosed, codes.Unavailable, "SHUTTING_DOWN"},
	{context.Canceled, codes.Canceled, "CANCELLED"},
	{context.DeadlineExceeded, codes.DeadlineExceeded, "TIMEOUT"},
}

// wireNames are the fields of the contract as they are called on this door's wire.
var wireNames = map[string]string{"key": "resource_id", "owner": "lock_owner"}

// callStatus is the gRPC status of a call's error; nil stays nil. What is in no table is the storage's trouble.
func callStatus(err error) error {
	var bad *stores.FieldError
	if errors.As(err, &bad) {
		return fieldStatus(wireNames[bad.Field], bad.Problem)
	}
	return toStatus(err, codes.Unavailable, "STORE_ERROR")
}

// initStatus is callStatus for Init, where what is in no table is the fault of the metadata or of what it points to.
func initStatus(err error) error {
	return toStatus(err, codes.InvalidArgument, "INIT_FAILED")
}

func toStatus(err error, code codes.Code, reason string) error {
	if err == nil {
		return nil
	}
	for _, row := range reasons {
		if errors.Is(err, row.is) {
			code, reason = row.code, row.reason
			break
		}
	}
	return withDetail(status.New(code, err.Error()), &errdetails.ErrorInfo{Reason: reason, Domain: domain})
}

func fieldStatus(field, problem string) error {
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
