package client_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mortise-lock/mortise/client"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
)

// network is where clients find a keeper, or nobody while it is away. It notes the calls that arrive, and can meddle with them.
type network struct {
	*keeper

	mu       sync.Mutex
	listener *bufconn.Listener // nil while the keeper is away
	server   *grpc.Server
	served   chan error
	calls    []string // the methods, in order of arrival
	meddle   meddling
}

// meddling stands between a call that has arrived and its answer.
type meddling = func(ctx context.Context, method string, call func() (any, error)) (any, error)

// serve starts a network; the keeper is there.
func serve() *network {
	n := &network{keeper: newKeeper()}
	n.start()
	return n
}

// start lets the keeper come back.
func (n *network) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listener = bufconn.Listen(1 << 16)
	n.server = grpc.NewServer(grpc.WaitForHandlers(true), grpc.UnaryInterceptor(n.intercept))
	lockspb.RegisterLocksServer(n.server, n.keeper)
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
	<-n.served
}

func (n *network) dial(ctx context.Context, _ string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listener
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("nobody listens")
	}
	return l.DialContext(ctx)
}

// client returns a client on the network.
func (n *network) client(opts ...client.DialOption) *client.Client {
	opts = append(opts, client.GRPC(grpc.WithContextDialer(n.dial)))
	c, err := client.Dial("passthrough:///keeper", opts...)
	if err != nil {
		panic(err)
	}
	return c
}

func (n *network) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	n.mu.Lock()
	n.calls = append(n.calls, method)
	meddle := n.meddle
	n.mu.Unlock()
	call := func() (any, error) { return handler(ctx, req) }
	if meddle == nil {
		return call()
	}
	return meddle(ctx, method, call)
}

// with has calls go through meddle from now on.
func (n *network) with(meddle meddling) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.meddle = meddle
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
func open(t *testing.T, opts ...client.DialOption) (*network, *client.Client) {
	t.Helper()
	n := serve()
	c := n.client(opts...)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		n.stop()
	})
	return n, c
}

// revoke takes the lock from whoever holds it.
func (n *network) revoke(t *testing.T, key string) {
	t.Helper()
	if _, err := n.Revoke(t.Context(), &lockspb.RevokeRequest{Key: key}); err != nil {
		t.Error(err)
	}
}

// steal takes the lock for somebody else, who keeps it for an hour.
func (n *network) steal(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keeper.mu.Lock()
	defer n.keeper.mu.Unlock()
	n.grant(&lockspb.LockAllRequest{Keys: []string{key}, Owner: "bob", Ttl: durationpb.New(time.Hour)})
}
