package component

import (
	"context"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	"github.com/mortise-lock/mortise/component/internal/tokenauth"
)

// tokenAuth rejects calls without the token, except health checks, because a prober has
// no secrets. A health check shows only that the process runs and whether a lock could be
// taken in a component that it names. Health.Watch needs the token, because its stream
// never ends.
type tokenAuth struct{ tokenauth.Token }

func newTokenAuth(token string) tokenAuth { return tokenAuth{tokenauth.New(token)} }

// requireToken returns a handler that passes requests with the token to next, and other
// requests to refuse. Without a configured token it returns next.
func (n *tcpListeners) requireToken(next http.Handler, refuse refuseFunc) http.Handler {
	if n.auth == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !n.auth.Equals(bearer(r.Header.Values("Authorization"))) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, r, http.StatusUnauthorized, rpcstatus.ErrUnauthenticated.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serverOptions let a gRPC server check the token of every call.
func (a tokenAuth) serverOptions() []grpc.ServerOption { return tokenauth.ServerOptions(a.check) }

// check returns the status of a call that is rejected, or nil.
func (a tokenAuth) check(ctx context.Context, method string) error {
	if method == healthpb.Health_Check_FullMethodName ||
		a.Equals(bearer(metadata.ValueFromIncomingContext(ctx, "authorization"))) {
		return nil
	}
	return rpcstatus.Status(rpcstatus.ErrUnauthenticated)
}

// bearer returns the token in the authorization headers of a call, or empty.
func bearer(values []string) string {
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return token
}
