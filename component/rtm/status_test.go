package rtm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/rtm/presence"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

func TestStatusError(t *testing.T) {
	for _, row := range []struct {
		err    error
		number int32
		name   string
		code   codes.Code
	}{
		{invalid(notLogin, "user", "must not be empty"), -10002, "NOT_LOGIN", codes.Unauthenticated},
		{invalid(invalidUserID, "user", "must be at most 64 bytes, got 65"), -10006, "INVALID_USER_ID", codes.InvalidArgument},
		{invalid(invalidChannelName, "channel", "must not be empty"), -10008, "INVALID_CHANNEL_NAME", codes.InvalidArgument},
		{invalid(invalidParameter, "ttl", "must be a number"), -10014, "INVALID_PARAMETER", codes.InvalidArgument},
		{invalid(invalidChannelType, "channelType", "must be MESSAGE or STREAM, got NONE"), -10019, "INVALID_CHANNEL_TYPE", codes.InvalidArgument},
		{stores.ErrUnsupported, -10022, "SERVICE_NOT_SUPPORTED", codes.Unimplemented},
		{presence.ErrReplaced, -10027, "DUPLICATE_USER_ID", codes.Aborted},
		{stores.ErrLimit, -14001, "LOCK_OPERATION_FAILED", codes.ResourceExhausted},
		{context.DeadlineExceeded, -14002, "LOCK_OPERATION_TIMEOUT", codes.DeadlineExceeded},
		{context.Canceled, -14002, "LOCK_OPERATION_TIMEOUT", codes.Canceled},
		{stores.ErrRepeated, -14003, "LOCK_OPERATION_PERFORMING", codes.FailedPrecondition},
		{stores.ErrDeclared, -14004, "LOCK_ALREADY_EXIST", codes.AlreadyExists},
		{invalid(lockInvalidName, "lockName", "must not be empty"), -14005, "LOCK_INVALID_NAME", codes.InvalidArgument},
		{stores.ErrNotHeld, -14006, "LOCK_NOT_ACQUIRED", codes.FailedPrecondition},
		{stores.ErrNotOwner, -14006, "LOCK_NOT_ACQUIRED", codes.FailedPrecondition},
		{errHeld, -14007, "LOCK_ACQUIRE_FAILED", codes.Aborted},
		{errLoggedOut, -14007, "LOCK_ACQUIRE_FAILED", codes.Aborted},
		{stores.ErrGaveUp, -14007, "LOCK_ACQUIRE_FAILED", codes.Aborted},
		{stores.ErrNotDeclared, -14008, "LOCK_NOT_EXIST", codes.NotFound},
		{stores.ErrClosed, -14009, "LOCK_NOT_AVAILABLE", codes.Unavailable},
		{instances.ErrNotInitialized, -14009, "LOCK_NOT_AVAILABLE", codes.Unavailable},
		{instances.ErrAmbiguous, -14009, "LOCK_NOT_AVAILABLE", codes.FailedPrecondition},
		{stores.ErrRefused, -14009, "LOCK_NOT_AVAILABLE", codes.FailedPrecondition},
		{stores.ErrNotLock, -14009, "LOCK_NOT_AVAILABLE", codes.FailedPrecondition},
		{errors.New("connection refused"), -14009, "LOCK_NOT_AVAILABLE", codes.Unavailable},
	} {
		t.Run(row.err.Error(), func(t *testing.T) {
			got := status.Convert(StatusError("RTMSetLockOperation", fmt.Errorf("redis: lock: %w", row.err)))
			if got.Code() != row.code || !strings.Contains(got.Message(), row.err.Error()) {
				t.Errorf("status = %v, want %v", got, row.code)
			}
			detail, _ := got.Details()[0].(*rtmpb.Status)
			if detail.GetErrorCode() != row.number || detail.GetOperation() != "RTMSetLockOperation" || detail.GetReason() != got.Message() {
				t.Errorf("detail = %v, want %d", detail, row.number)
			}
			info, _ := got.Details()[1].(*errdetails.ErrorInfo)
			if info.GetReason() != row.name || info.GetDomain() != "mortise" {
				t.Errorf("error info = %v, want %s", info, row.name)
			}
		})
	}
	if err := StatusError("RTMSetLockOperation", nil); err != nil {
		t.Errorf("statusError(nil) = %v", err)
	}
}
