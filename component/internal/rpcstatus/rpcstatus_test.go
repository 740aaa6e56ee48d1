package rpcstatus

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/stores"
)

func TestStatus(t *testing.T) {
	for _, row := range []struct {
		err    error
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
		{context.Canceled, codes.Canceled, "CANCELLED"},
		{context.DeadlineExceeded, codes.DeadlineExceeded, "TIMEOUT"},
		{ErrUnauthenticated, codes.Unauthenticated, "UNAUTHENTICATED"},
		{errors.New("connection refused"), codes.Unavailable, "STORE_ERROR"},
	} {
		err := fmt.Errorf("some: call: %w", row.err)
		got := status.Convert(Status(err))
		if got.Code() != row.code || got.Message() != err.Error() {
			t.Errorf("%v: %v", row.err, got)
		}
		checkDetail(t, got, &errdetails.ErrorInfo{Reason: row.reason, Domain: "mortise"})
	}
	if err := Status(nil); err != nil {
		t.Errorf("Status(nil) is %v", err)
	}
}

func TestStatusOr(t *testing.T) {
	got := status.Convert(StatusOr(errors.New("no such key"), codes.InvalidArgument, "INIT_FAILED"))
	if got.Code() != codes.InvalidArgument {
		t.Errorf("%v", got)
	}
	checkDetail(t, got, &errdetails.ErrorInfo{Reason: "INIT_FAILED", Domain: "mortise"})
	if got := StatusOr(stores.ErrClosed, codes.InvalidArgument, "INIT_FAILED"); status.Code(got) != codes.Unavailable {
		t.Errorf("the status of an error in the table is %v", got)
	}
}

func TestStatus_FieldError(t *testing.T) {
	got := status.Convert(Status(fmt.Errorf("some: call: %w", &stores.FieldError{Field: "ttl", Problem: "is missing"})))
	if got.Code() != codes.InvalidArgument || got.Message() != "ttl is missing" {
		t.Errorf("%v", got)
	}
	checkDetail(t, got, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: "ttl", Description: "is missing"},
	}})
}

func checkDetail(t *testing.T, s *status.Status, want proto.Message) {
	t.Helper()
	details := s.Details()
	if len(details) != 1 || !proto.Equal(protoadapt.MessageV2Of(details[0].(protoadapt.MessageV1)), want) {
		t.Errorf("%v has the details %v", s, details)
	}
}
