package daprapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/internal/tokenauth"
)

// tokenHeader is the name of the token in the metadata of gRPC calls and in the header of
// HTTP requests.
const tokenHeader = "dapr-api-token"

// tokenAuth rejects calls without the token, except health checks, because a prober has
// no secrets. Health.Watch needs the token, because its stream never ends. tokenAuth
// accepts every call if no token is configured.
type tokenAuth struct {
	disabled bool // no token is configured
	token    tokenauth.Token
}

func newTokenAuth(token string) tokenAuth { return tokenAuth{token == "", tokenauth.New(token)} }

func (t tokenAuth) accepts(token string) bool { return t.disabled || t.token.Equals(token) }

// ServerOptions are the options with which a gRPC server responds as daprd's does.
func (a *API) ServerOptions() []grpc.ServerOption {
	return append(tokenauth.ServerOptions(a.auth.check), grpc.UnknownServiceHandler(UnknownMethod))
}

// check returns the status with which a gRPC call is rejected, or nil.
func (t tokenAuth) check(ctx context.Context, method string) error {
	if t.disabled || method == healthpb.Health_Check_FullMethodName {
		return nil
	}
	switch tokens := metadata.ValueFromIncomingContext(ctx, tokenHeader); {
	case len(tokens) == 0:
		return unauthenticated("missing api token in request metadata")
	case !t.accepts(tokens[0]):
		return unauthenticated("authentication error: api token mismatch")
	}
	return nil
}

// unauthenticated is the status of a gRPC call without a valid token.
func unauthenticated(why string) error {
	text := http.StatusText(http.StatusUnauthorized)
	st := status.New(codes.Unauthenticated, text)
	withDetails, err := st.WithDetails(&errdetails.ErrorInfo{
		Reason:   text,
		Domain:   "dapr.io",
		Metadata: map[string]string{"http.code": fmt.Sprint(http.StatusUnauthorized), "http.error_message": why},
	})
	if err != nil {
		return st.Err()
	}
	return withDetails.Err()
}

// isHealthRequest reports whether an HTTP request is a health check.
func isHealthRequest(r *http.Request) bool {
	path := strings.Trim(r.URL.Path, "/")
	return r.Method == http.MethodGet && (path == "v1.0/healthz" || path == "v1.0/healthz/outbound")
}

// UnknownMethod handles gRPC calls of unknown methods with daprd's errors. daprd itself
// forwards such a call to the app that the call's metadata names.
func UnknownMethod(_ any, stream grpc.ServerStream) error {
	for _, header := range []string{"dapr-callee-app-id", "dapr-app-id"} {
		if len(metadata.ValueFromIncomingContext(stream.Context(), header)) > 0 {
			return errUnimplemented
		}
	}
	if method, _ := grpc.Method(stream.Context()); strings.HasPrefix(method, "/dapr.proto.runtime.") {
		return errors.New("failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found")
	}
	return errors.New("cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata")
}
