package daprapi

import (
	"encoding/json"
	"fmt"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// apiError is an error as daprd returns it, over gRPC and over HTTP.
type apiError struct {
	name    string // the errorCode over HTTP
	http    int    // the status over HTTP
	code    codes.Code
	message string // a format with at most one verb
}

// The errors that calls return.
var (
	errBodyRead      = apiError{"ERR_BODY_READ", http.StatusBadRequest, codes.InvalidArgument, "failed to read request body: %v"}
	errMalformed     = malformed("failed deserializing HTTP body: %v")
	errExpiry        = malformed("ExpiryInSeconds is not positive in lock store %s")
	errResource      = malformed("ResourceId is empty in lock store %s")
	errOwner         = malformed("LockOwner is empty in lock store %s")
	errNotConfigured = apiError{"ERR_LOCK_STORE_NOT_CONFIGURED", http.StatusInternalServerError, codes.FailedPrecondition,
		"lock store is not configured"}
	errNotFound = apiError{"ERR_LOCK_STORE_NOT_FOUND", http.StatusBadRequest, codes.InvalidArgument, "lock store %s not found"}
	errTryLock  = internal("ERR_TRY_LOCK", "failed to try acquiring lock: %s")
	errUnlock   = internal("ERR_UNLOCK", "failed to release lock: %s")
	errNotReady = internal("ERR_HEALTH_NOT_READY", "dapr is not ready: [runtime]")
	errOutbound = internal("ERR_OUTBOUND_HEALTH_NOT_READY", "dapr outbound is not ready")
	errOtherApp = internal("ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match")
	errNoRoute  = apiError{"ERR_DIRECT_INVOKE", http.StatusNotFound, codes.NotFound,
		"failed getting app id either from the URL path or the header dapr-app-id"}
	errUnimplemented = apiError{"ERR_API_UNIMPLEMENTED", http.StatusNotImplemented, codes.Unimplemented,
		"this API is currently not implemented"}
)

func malformed(message string) apiError {
	return apiError{"ERR_MALFORMED_REQUEST", http.StatusBadRequest, codes.InvalidArgument, message}
}

func internal(name, message string) apiError {
	return apiError{name, http.StatusInternalServerError, codes.Internal, message}
}

// with returns the error with v formatted into its message.
func (e apiError) with(v any) apiError {
	e.message = fmt.Sprintf(e.message, v)
	return e
}

// Error returns the message.
func (e apiError) Error() string { return e.message }

// GRPCStatus returns the error as a gRPC status.
func (e apiError) GRPCStatus() *status.Status { return status.New(e.code, e.message) }

// body returns the error as the JSON of an HTTP response.
func (e apiError) body() []byte {
	body, _ := json.Marshal(struct { // two strings, so that Marshal cannot fail
		ErrorCode string `json:"errorCode"`
		Message   string `json:"message"`
	}{e.name, e.message})
	return body
}
