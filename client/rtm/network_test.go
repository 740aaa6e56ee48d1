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

// network is where users find a Mortise, or nobody while it is away. Its one component,
// "chat", remembers its locks over a restart. It notes the calls that arrive, and can
// meddle with them.
type network struct {
	backend stores.Backend
	store   *memory.Store
	script  rtmpb.ChannelLocksServer // instead of the real service, if it is not nil

	mu       sync.Mutex
	listener *bufconn.Listener // nil while Mortise is away
	shutdown func()
	calls    []string // the methods, in order of arrival
	fault    fault
	conns    []*cuttableConn
}

// fault stands between a call that has arrived and its answer.
type fault = func(ctx context.Context, method string, call func() (any, error)) (any, error)

var discardLog = func() logger.Logger {
	l := logger.NewLogger("client-rtm-test")
	l.SetOutput(io.Discard)
	return l
}()

// newNetwork starts a network; Mortise is there.
func newNetwork() *network {
	n := &network{backend: memory.NewProcess().Backend()}
	n.store = must(n.backend.Open(context.Background(), stores.Component{Name: "chat"})).(*memory.Store)
	n.start()
	return n
}

// setup starts a network for a test.
func setup(t *testing.T) *network {
	n := newNetwork()
	t.Cleanup(n.stop)
	return n
}

// start lets Mortise come back.
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
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) { // it was stopped before it began
			panic(err)
		}
	}
}

// serve adds a service to the server, and returns how to end it.
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

// stop breaks every connection, and nobody is there until start. It may be so already.
func (n *network) stop() {
	n.mu.Lock()
	away := n.listener == nil
	n.listener = nil
	n.mu.Unlock()
	if !away {
		n.shutdown()
	}
}

func (n *network) dial(ctx context.Context, _ string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listener == nil {
		return nil, errors.New("nobody listens")
	}
	c, err := n.listener.DialContext(ctx)
	w := &cuttableConn{Conn: c}
	n.conns = append(n.conns, w)
	return w, err
}

// cutConns lets what is sent on the connections that there are go astray, without a word
// to either side.
func (n *network) cutConns() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.conns {
		w.cut.Store(true)
	}
}

// cuttableConn is a connection that can be cut.
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

// inject has calls go through meddle from now on.
func (n *network) inject(meddle fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fault = meddle
}

// count returns how many calls of the method have arrived.
func (n *network) count(method string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(n.calls), func(m string) bool { return m != method }))
}

func (n *network) intercept(ctx context.Context, full string, call func() (any, error)) (any, error) {
	method := path.Base(full)
	n.mu.Lock()
	n.calls = append(n.calls, method)
	meddle := n.fault
	n.mu.Unlock()
	if meddle == nil {
		return call()
	}
	return meddle(ctx, method, call)
}

func (n *network) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	return n.intercept(ctx, info.FullMethod, func() (any, error) { return handler(ctx, req) })
}

func (n *network) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	_, err := n.intercept(stream.Context(), info.FullMethod, func() (any, error) { return nil, handler(srv, stream) })
	return err
}

// client returns a client on the network.
func (n *network) client(opts ...client.DialOption) *client.Client {
	return must(client.Dial("passthrough:///mortise", append(opts, client.GRPC(grpc.WithContextDialer(n.dial)))...))
}

// dialClient returns a client that ends with the test.
func (n *network) dialClient(t *testing.T, opts ...client.DialOption) *client.Client {
	c := n.client(opts...)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// login logs a user in over a connection of his own. He leaves with the test.
func (n *network) login(t *testing.T, name string) *rtm.User {
	t.Helper()
	u, err := rtm.Login(t.Context(), n.dialClient(t), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// logout logs the user out by a program of its own.
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
	ttl  = 10 * time.Second // the least that RTM allows
	long = 10 * time.Minute
)

var room = rtm.Message("room")

// setLocks lets free locks exist in the room.
func setLocks(t *testing.T, u *rtm.User, names ...string) {
	t.Helper()
	for _, name := range names {
		if got, err := u.SetLock(t.Context(), room, name, ttl); err != nil || got != ttl {
			t.Fatalf("SetLock(%q) returned %v, %v", name, got, err)
		}
	}
}

// acquire takes a lock in the room, which must be free.
func acquire(t *testing.T, u *rtm.User, name string) *rtm.Lock {
	t.Helper()
	l, err := u.AcquireLock(t.Context(), room, name, false)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ownerOf tells who holds the room's lock as the store has it, and with which token.
func (n *network) ownerOf(t *testing.T, name string) (string, uint64) {
	t.Helper()
	for _, l := range must(n.store.List(context.Background(), "rtm||1||room||"+name)) {
		return l.Owner, l.Token
	}
	return "", 0
}

// checkOwner demands that the user holds the room's lock as the store has it.
func (n *network) checkOwner(t *testing.T, name, want string) {
	t.Helper()
	if got, _ := n.ownerOf(t, name); got != want {
		t.Errorf("%q holds %s, want %q", got, name, want)
	}
}

// waiters tells how many wait for locks.
func (n *network) waiters() (waiters int) {
	for _, l := range must(n.store.List(context.Background(), "rtm||")) {
		waiters += l.Waiters
	}
	return waiters
}

// checkHeld demands that the lock has not ended.
func checkHeld(t *testing.T, l *rtm.Lock) {
	t.Helper()
	if err := l.Err(); err != nil {
		t.Errorf("the lock has ended: %v", err)
	}
}

// checkIs demands an error that is all of those.
func checkIs(t *testing.T, what string, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("%s: %v, want %v", what, err, w)
		}
	}
}
