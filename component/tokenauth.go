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

// guard lets calls pass that carry the token, and those for the health: whoever probes
// that has no secrets, and learns no more than that the process lives, and whether a lock
// can be taken in a component that he can name. Streams of the health need the token,
// since they never end. It keeps the token's hash, so that comparing takes the same time
// whatever is sent.
type tokenAuth [sha256.Size]byte

func newTokenAuth(token string) tokenAuth { return sha256.Sum256([]byte(token)) }

// guarded puts the guard, if there is one, before a handler. Requests that may not pass
// are for refuse.
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

// options put the guard before every call of gRPC.
func (g tokenAuth) serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, call *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if err := g.check(ctx, call.FullMethod); err != nil {
				return nil, err
			}
			return handle(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, call *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if err := g.check(stream.Context(), call.FullMethod); err != nil {
				return err
			}
			return handle(srv, stream)
		}),
	}
}

// check returns the status of a call that may not pass, or nil.
func (g tokenAuth) check(ctx context.Context, method string) error {
	if method == healthpb.Health_Check_FullMethodName ||
		g.matches(bearer(metadata.ValueFromIncomingContext(ctx, "authorization"))) {
		return nil
	}
	return rpcstatus.Status(rpcstatus.ErrUnauthenticated)
}

func (g tokenAuth) matches(token string) bool {
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], g[:]) == 1
}

// bearer is the token in the authorization headers of a call, or empty.
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
