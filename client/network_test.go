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

// network is where clients find a Mortise, or nobody while it is away. It notes the calls
// that arrive, and can meddle with them.
type network struct {
	*testMortise

	mu       sync.Mutex
	listener *bufconn.Listener // nil while Mortise is away
	server   *grpc.Server
	served   chan error
	calls    []string // the methods, in order of arrival
	fault    fault
	conns    []*cuttableConn
}

// meddling stands between a call that has arrived and its answer.
type fault = func(ctx context.Context, method string, call func() (any, error)) (any, error)

// begin starts a network; Mortise is there.
func newNetwork() *network {
	n := &network{testMortise: newMortise()}
	n.start()
	return n
}

// start lets Mortise come back.
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

// stop breaks every connection, and nobody is there until start. It may be so already.
func (n *network) stop() {
	n.mu.Lock()
	away := n.listener == nil
	n.listener = nil
	n.mu.Unlock()
	if away {
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
		return nil, errors.New("nobody listens")
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

// cut lets what is sent on the connections that there are go astray, without a word to
// either side.
func (n *network) cutConns() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.conns {
		w.cut.Store(true)
	}
}

// wire is a connection that can be cut.
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

// client returns a client on the network.
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
	meddle := n.fault
	n.mu.Unlock()
	call := func() (any, error) { return handler(ctx, req) }
	if meddle == nil {
		return call()
	}
	return meddle(ctx, method, call)
}

// with has calls go through meddle from now on.
func (n *network) inject(meddle fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fault = meddle
}

// count returns how many calls of the method have arrived, or of any if it is empty.
func (n *network) count(method string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if method == "" {
		return len(n.calls)
	}
	return len(slices.DeleteFunc(slices.Clone(n.calls), func(m string) bool { return m != method }))
}

// open starts a network with one client for a test; both end with it.
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
