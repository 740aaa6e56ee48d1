package client_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mortise-lock/mortise/client"
)

// network connects clients in memory with a Mortise that can stop and restart. It records
// the calls that arrive, and can inject a fault.
type network struct {
	*testMortise

	mu       sync.Mutex
	listener *bufconn.Listener // nil while Mortise is stopped
	server   *grpc.Server
	served   chan error
	calls    []string // methods, in order of arrival
	fault    fault
	conns    []*cuttableConn
}

// fault replaces the handler of a call; call runs the handler.
type fault = func(ctx context.Context, method string, call func() (any, error)) (any, error)

// newNetwork returns a network with a running Mortise.
func newNetwork() *network {
	n := &network{testMortise: newMortise()}
	n.start()
	return n
}

// start starts Mortise.
func (n *network) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listener = bufconn.Listen(1 << 16)
	n.server = grpc.NewServer(grpc.WaitForHandlers(true), grpc.UnaryInterceptor(n.intercept),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}))
	n.testMortise.serve(n.server)
	n.served = make(chan error, 1)
	go func(s *grpc.Server, l net.Listener, served chan<- error) { served <- s.Serve(l) }(n.server, n.listener, n.served)
}

// stop stops Mortise, if it is running, and breaks every connection.
func (n *network) stop() {
	n.mu.Lock()
	stopped := n.listener == nil
	n.listener = nil
	n.mu.Unlock()
	if stopped {
		return
	}
	n.server.Stop()
	if err := errors.Join(<-n.served, n.testMortise.components.Close()); err != nil {
		panic(err)
	}
}

func (n *network) dial(ctx context.Context, _ string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listener
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	c, err := l.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	w := &cuttableConn{Conn: c}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, w)
	return w, nil
}

// cutConns makes the present connections lose all data, without an error on either side.
func (n *network) cutConns() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.conns {
		w.cut.Store(true)
	}
}

// cuttableConn is a connection that can lose all data.
type cuttableConn struct {
	net.Conn
	cut atomic.Bool
}

func (w *cuttableConn) Read(b []byte) (int, error) {
	for {
		n, err := w.Conn.Read(b)
		if err != nil || !w.cut.Load() {
			return n, err
		}
	}
}

func (w *cuttableConn) Write(b []byte) (int, error) {
	if w.cut.Load() {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

// client returns a client of the network's Mortise.
func (n *network) client(opts ...client.DialOption) *client.Client {
	opts = append(opts, client.GRPC(grpc.WithContextDialer(n.dial)))
	c, err := client.Dial("passthrough:///mortise", opts...)
	if err != nil {
		panic(err)
	}
	return c
}

func (n *network) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	n.mu.Lock()
	n.calls = append(n.calls, method)
	f := n.fault
	n.mu.Unlock()
	call := func() (any, error) { return handler(ctx, req) }
	if f == nil {
		return call()
	}
	return f(ctx, method, call)
}

// inject applies the fault to all later calls; nil removes it.
func (n *network) inject(f fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fault = f
}

// count returns the number of calls of the method, or of all methods if it is empty.
func (n *network) count(method string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if method == "" {
		return len(n.calls)
	}
	return len(slices.DeleteFunc(slices.Clone(n.calls), func(m string) bool { return m != method }))
}

// setup returns a network and a client, which end with the test.
func setup(t *testing.T, opts ...client.DialOption) (*network, *client.Client) {
	t.Helper()
	n := newNetwork()
	c := n.client(opts...)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		n.stop()
	})
	return n, c
}
