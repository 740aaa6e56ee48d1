package pluggablelock

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// reasonNotInitialized is the ErrorInfo reason, with code FailedPrecondition, of a
// component that does not have the instance of a call.
const reasonNotInitialized = "NOT_INITIALIZED"

// notInitialized reports whether err means that the component requires an Init. An Init
// does not help with other failed preconditions.
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

// componentError is a gRPC error whose text is its message only, because daprd embeds it
// in another sentence. status.FromError returns its code and details, and errors.As the
// error itself.
type componentError struct {
	cause error
}

// messageOnly returns err as a componentError if it is a gRPC error, and err otherwise.
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

// GRPCStatus returns the code, message and details.
func (e *componentError) GRPCStatus() *status.Status { return status.Convert(e.cause) }

// Unwrap returns the gRPC error.
func (e *componentError) Unwrap() error { return e.cause }
