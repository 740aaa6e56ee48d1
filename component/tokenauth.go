package component

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
)

// tokenAuth accepts calls with the token, and health checks without it: a prober has no
// secrets, and learns only whether the process runs and whether a lock can be taken in a
// component whose name it knows. Health streams need the token, because they never end.
// tokenAuth is the token's hash, so that a comparison takes constant time.
type tokenAuth [sha256.Size]byte

func newTokenAuth(token string) tokenAuth { return sha256.Sum256([]byte(token)) }

// requireToken returns a handler that calls next for requests with the token, and refuse
// for others. Without a token it returns next.
func (n *tcpListeners) requireToken(next http.Handler, refuse refuseFunc) http.Handler {
	if n.auth == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !n.auth.matches(bearer(r.Header.Values("Authorization"))) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, r, http.StatusUnauthorized, rpcstatus.ErrUnauthenticated.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serverOptions returns the interceptors that require the token.
func (a tokenAuth) serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, call *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if err := a.check(ctx, call.FullMethod); err != nil {
				return nil, err
			}
			return handle(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, call *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if err := a.check(stream.Context(), call.FullMethod); err != nil {
				return err
			}
			return handle(srv, stream)
		}),
	}
}

// check returns nil for a call that is accepted, and otherwise its status.
func (a tokenAuth) check(ctx context.Context, method string) error {
	if method == healthpb.Health_Check_FullMethodName ||
		a.matches(bearer(metadata.ValueFromIncomingContext(ctx, "authorization"))) {
		return nil
	}
	return rpcstatus.Status(rpcstatus.ErrUnauthenticated)
}

func (a tokenAuth) matches(token string) bool {
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], a[:]) == 1
}

// bearer returns the token in the authorization headers of a call, or "".
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
