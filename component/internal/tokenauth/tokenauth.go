// Package tokenauth rejects calls that do not carry the token that they need.
package tokenauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"

	"google.golang.org/grpc"
)

// Token is a token that callers must present. It holds only the token's hash, so that a
// comparison takes the same time whatever was presented. The zero Token accepts nothing.
type Token struct {
	hash [sha256.Size]byte
}

// New returns a Token that equals token only.
func New(token string) Token { return Token{sha256.Sum256([]byte(token))} }

// Equals reports whether presented is the token.
func (t Token) Equals(presented string) bool {
	hash := sha256.Sum256([]byte(presented))
	return subtle.ConstantTimeCompare(hash[:], t.hash[:]) == 1
}

// ServerOptions let a gRPC server call check before every call, with the full name of its
// method. A call for which check fails ends with that error.
func ServerOptions(check func(ctx context.Context, method string) error) []grpc.ServerOption {
	unary := func(ctx context.Context, req any, call *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		if err := check(ctx, call.FullMethod); err != nil {
			return nil, err
		}
		return handle(ctx, req)
	}
	stream := func(srv any, stream grpc.ServerStream, call *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		if err := check(stream.Context(), call.FullMethod); err != nil {
			return err
		}
		return handle(srv, stream)
	}
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(unary), grpc.ChainStreamInterceptor(stream)}
}
