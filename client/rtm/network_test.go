package rtm_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/client/rtm"
	"github.com/mortise-lock/mortise/component/instances"
	api "github.com/mortise-lock/mortise/component/rtm"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// network connects clients in memory with a Mortise that can stop and restart. Its
// component "chat" keeps its locks across a restart. It records the calls that arrive,
// and can inject a fault.
type network struct {
	backend stores.Backend
	store   *memory.Store
	script  rtmpb.ChannelLocksServer // instead of the real service, if it is not nil

	mu       sync.Mutex
	listener *bufconn.Listener // nil while Mortise is stopped
	shutdown func()
	calls    []string // methods, in order of arrival
	fault    fault
	conns    []*cuttableConn
}

// fault replaces the handler of a call; call runs the handler.
type fault = func(ctx context.Context, method string, call func() (any, error)) (any, error)

var discardLog = func() logger.Logger {
	l := logger.NewLogger("client-rtm-test")
	l.SetOutput(io.Discard)
	return l
}()

// newNetwork returns a network with a running Mortise.
func newNetwork() *network {
	n := &network{backend: memory.NewProcess().Backend()}
	n.store = must(n.backend.Open(context.Background(), stores.Component{Name: "chat"})).(*memory.Store)
	n.start()
	return n
}

// setup returns a network that ends with the test.
func setup(t *testing.T) *network {
	n := newNetwork()
	t.Cleanup(n.stop)
	return n
}

// start starts Mortise.
func (n *network) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer(grpc.WaitForHandlers(true), grpc.UnaryInterceptor(n.unary), grpc.StreamInterceptor(n.stream),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}))
	end := n.serve(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	n.listener = listener
	n.shutdown = func() {
		server.Stop()
		end()
		err := <-served
		if err != nil && !errors.Is(err, grpc.ErrServerStopped) { // stopped before Serve
			panic(err)
		}
	}
}

// serve adds the service to the server, and returns a function that ends the service.
func (n *network) serve(server *grpc.Server) (end func()) {
	if n.script != nil {
		rtmpb.RegisterChannelLocksServer(server, n.script)
		return func() {}
	}
	registry := stores.NewRegistry("memory")
	registry.Register("memory", n.backend)
	set := instances.New(registry, discardLog)
	if err := set.Open(context.Background(), "chat", nil); err != nil {
		panic(err)
	}
	service := api.New(set.Resolver(), discardLog)
	rtmpb.RegisterChannelLocksServer(server, service)
	return func() {
		service.Close()
		if err := set.Close(); err != nil {
			panic(err)
		}
	}
}

// stop stops Mortise, if it is running, and breaks every connection.
func (n *network) stop() {
	n.mu.Lock()
	stopped := n.listener == nil
	n.listener = nil
	n.mu.Unlock()
	if !stopped {
		n.shutdown()
	}
}

func (n *network) dial(ctx context.Context, _ string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listener == nil {
		return nil, errors.New("connection refused")
	}
	c, err := n.listener.DialContext(ctx)
	w := &cuttableConn{Conn: c}
	n.conns = append(n.conns, w)
	return w, err
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

// inject applies the fault to all later calls; nil removes it.
func (n *network) inject(f fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fault = f
}

// count returns the number of calls of the method.
func (n *network) count(method string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(n.calls), func(m string) bool { return m != method }))
}

func (n *network) intercept(ctx context.Context, full string, call func() (any, error)) (any, error) {
	method := path.Base(full)
	n.mu.Lock()
	n.calls = append(n.calls, method)
	f := n.fault
	n.mu.Unlock()
	if f == nil {
		return call()
	}
	return f(ctx, method, call)
}

func (n *network) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	return n.intercept(ctx, info.FullMethod, func() (any, error) { return handler(ctx, req) })
}

func (n *network) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	_, err := n.intercept(stream.Context(), info.FullMethod, func() (any, error) { return nil, handler(srv, stream) })
	return err
}

// client returns a client of the network's Mortise.
func (n *network) client(opts ...client.DialOption) *client.Client {
	return must(client.Dial("passthrough:///mortise", append(opts, client.GRPC(grpc.WithContextDialer(n.dial)))...))
}

// dialClient returns a client that is closed at the end of the test.
func (n *network) dialClient(t *testing.T, opts ...client.DialOption) *client.Client {
	c := n.client(opts...)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// login logs a user in over a separate connection, until the end of the test.
func (n *network) login(t *testing.T, name string) *rtm.User {
	t.Helper()
	u, err := rtm.Login(t.Context(), n.dialClient(t), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// logout logs the user out over a separate connection.
func (n *network) logout(t *testing.T, name string) error {
	conn, _ := n.dialClient(t).Conn()
	_, err := rtmpb.NewChannelLocksClient(conn).Logout(t.Context(), &rtmpb.LogoutRequest{User: name})
	return err
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

const (
	ttl  = 10 * time.Second // the minimum of RTM
	long = 2 * time.Minute
)

var room = rtm.Message("room")

// setLocks creates free locks in the room.
func setLocks(t *testing.T, u *rtm.User, names ...string) {
	t.Helper()
	for _, name := range names {
		if got, err := u.SetLock(t.Context(), room, name, ttl); err != nil || got != ttl {
			t.Fatalf("SetLock(%q) returned %v, %v", name, got, err)
		}
	}
}

// acquire acquires a lock in the room, which must be free.
func acquire(t *testing.T, u *rtm.User, name string) *rtm.Lock {
	t.Helper()
	l, err := u.AcquireLock(t.Context(), room, name, false)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ownerOf returns the owner of the room's lock in the store, and the token.
func (n *network) ownerOf(t *testing.T, name string) (string, uint64) {
	t.Helper()
	for _, l := range must(n.store.List(context.Background(), "rtm||1||room||"+name)) {
		return l.Owner, l.Token
	}
	return "", 0
}

// checkOwner checks the owner of the room's lock in the store.
func (n *network) checkOwner(t *testing.T, name, want string) {
	t.Helper()
	if got, _ := n.ownerOf(t, name); got != want {
		t.Errorf("%q holds %s, want %q", got, name, want)
	}
}

// waiters returns the number of waiters for locks.
func (n *network) waiters() (waiters int) {
	for _, l := range must(n.store.List(context.Background(), "rtm||")) {
		waiters += l.Waiters
	}
	return waiters
}

// checkHeld checks that the lock has not ended.
func checkHeld(t *testing.T, l *rtm.Lock) {
	t.Helper()
	if err := l.Err(); err != nil {
		t.Errorf("the lock has ended: %v", err)
	}
}

// checkIs checks that the error wraps all wanted ones.
func checkIs(t *testing.T, what string, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("%s: %v, want %v", what, err, w)
		}
	}
}
