package pluggablelock

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestNotInitialized(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"a failed precondition with the reason", errNotInitialized(), true},
		{"a failed precondition without details", status.Error(codes.FailedPrecondition, "NOT_INITIALIZED"), false},
		{"a failed precondition with another reason", withReason(codes.FailedPrecondition, "LICENCE"), false},
		{"another code with the reason", withReason(codes.Unavailable, "NOT_INITIALIZED"), false},
		{"an error of another kind", errors.New("NOT_INITIALIZED"), false},
		{"success", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := notInitialized(tt.err); got != tt.want {
				t.Errorf("notInitialized = %t", got)
			}
		})
	}
}

func TestMessageOnly(t *testing.T) {
	refused := status.Error(codes.ResourceExhausted, "redis: pool timeout")
	tests := []struct {
		name string
		err  error
		text string
		code codes.Code
	}{
		{"a status has its message", refused, "redis: pool timeout", codes.ResourceExhausted},
		{"a status without a message has its code", status.Error(codes.Unavailable, ""), "Unavailable", codes.Unavailable},
		{"a wrapped error has no gRPC prefix",
			fmt.Errorf("again: %w", messageOnly(refused)), "again: redis: pool timeout", codes.ResourceExhausted},
		{"an error of another kind is unchanged", context.Canceled, "context canceled", codes.Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := messageOnly(tt.err)
			if err.Error() != tt.text || status.Code(err) != tt.code || !errors.Is(err, tt.err) {
				t.Errorf("got %v: %q, want %v: %q", status.Code(err), err, tt.code, tt.text)
			}
		})
	}
	if err := messageOnly(nil); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestMessageOnly_Details(t *testing.T) {
	err := fmt.Errorf("try: %w", messageOnly(withReason(codes.Unavailable, "DRAINING")))
	details := status.Convert(err).Details()
	if len(details) != 1 || details[0].(*errdetails.ErrorInfo).GetReason() != "DRAINING" {
		t.Errorf("got the details %v", details)
	}
	var target *componentError
	if !errors.As(err, &target) || target.Error() != "no such instance" {
		t.Errorf("errors.As finds %v", target)
	}
}
