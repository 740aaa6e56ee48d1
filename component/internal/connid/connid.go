// Package connid identifies the connection by which a gRPC call has come in. gRPC gives a
// service the caller's address only, and the clients of a Unix socket have none; so a
// Listener attaches a value to the address of each of its connections.
package connid

import (
	"context"
	"net"

	"google.golang.org/grpc/peer"
)

// Listener returns a listener on l whose connections have values: opened returns the
// value of a new connection, and closed is called with it before that connection is
// closed. Both must be safe for concurrent use. Listeners may be nested, each with a T of
// its own.
func Listener[T any](l net.Listener, opened func(net.Conn) *T, closed func(*T)) net.Listener {
	return &listener[T]{l, opened, closed}
}

type listener[T any] struct {
	net.Listener
	opened func(net.Conn) *T
	closed func(*T)
}

func (l *listener[T]) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn[T]{c, l.opened(c), l.closed}, nil
}

type conn[T any] struct {
	net.Conn
	value  *T
	closed func(*T)
}

func (c *conn[T]) RemoteAddr() net.Addr { return addr[T]{c.Conn.RemoteAddr(), c.value} }

func (c *conn[T]) Close() error {
	c.closed(c.value)
	return c.Conn.Close()
}

// addr is a connection's address with its value.
type addr[T any] struct {
	net.Addr
	value *T
}

func (a addr[T]) inner() net.Addr { return a.Addr }

// FromContext returns the value of the connection by which the call of ctx has come in,
// or nil if that is not of a Listener with this T.
func FromContext[T any](ctx context.Context) *T {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	for at := p.Addr; at != nil; {
		if a, ok := at.(addr[T]); ok {
			return a.value
		}
		outer, ok := at.(interface{ inner() net.Addr })
		if !ok {
			return nil
		}
		at = outer.inner()
	}
	return nil
}

// NewContext returns the context of a call by the connection that has the value, for
// tests.
func NewContext[T any](ctx context.Context, value *T) context.Context {
	return peer.NewContext(ctx, &peer.Peer{Addr: addr[T]{&net.UnixAddr{Net: "unix"}, value}})
}
