package pluggablelock

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// reasonNotInitialized is the ErrorInfo reason, beside code FailedPrecondition, of a
// component that does not know the instance a call is for.
const reasonNotInitialized = "NOT_INITIALIZED"

// notInitialized tells whether err says that the component needs an Init before it can do
// anything. Other failed preconditions are not mended by one.
func notInitialized(err error) bool {
	s, ok := status.FromError(err)
	if !ok || s.Code() != codes.FailedPrecondition {
		return false
	}
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetReason() == reasonNotInitialized {
			return true
		}
	}
	return false
}

// componentError is a gRPC error that reads as its message alone, because daprd puts it
// in a sentence of its own. Code and details remain for status.FromError, the error
// itself for errors.As.
type componentError struct {
	cause error
}

// readable returns err as a componentError if it is a gRPC error, and as it is otherwise.
func messageOnly(err error) error {
	if _, ok := status.FromError(err); err == nil || !ok {
		return err
	}
	return &componentError{err}
}

// Error returns the message, or the code's name if there is none.
func (e *componentError) Error() string {
	s := e.GRPCStatus()
	if s.Message() == "" {
		return s.Code().String()
	}
	return s.Message()
}

// GRPCStatus returns code, message and details.
func (e *componentError) GRPCStatus() *status.Status { return status.Convert(e.cause) }

// Unwrap returns the error that gRPC gave.
func (e *componentError) Unwrap() error { return e.cause }
