package pluggablelock

//lint:file-ignore SA1019 discovery's dialer blocks, and so must this one.

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	contriblock "github.com/dapr/components-contrib/lock"
	"github.com/dapr/components-contrib/metadata"
	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"github.com/dapr/kit/logger"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
)

// component is a LockStore that grants everything after its Init. Functions that are not
// nil replace its methods.
type component struct {
	lockpb.UnimplementedLockStoreServer
	onInit     func(context.Context, *lockpb.LockStoreInitRequest) error
	onFeatures func(context.Context) error
	onTryLock  func(context.Context, *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error)
	onUnlock   func(context.Context, *lockpb.UnlockRequest) (*lockpb.UnlockResponse, error)

	// notInitializedDelay delays every second TryLock that fails because there was no
	// Init.
	notInitializedDelay time.Duration

	initialized           atomic.Bool
	inits, locks, unlocks atomic.Int32 // received calls
}

func (c *component) Init(ctx context.Context, req *lockpb.LockStoreInitRequest) (*lockpb.LockStoreInitResponse, error) {
	c.inits.Add(1)
	if c.onInit != nil {
		if err := c.onInit(ctx, req); err != nil {
			return nil, err
		}
	}
	c.initialized.Store(true)
	return &lockpb.LockStoreInitResponse{}, nil
}

func (c *component) Features(ctx context.Context, _ *daprpb.FeaturesRequest) (*daprpb.FeaturesResponse, error) {
	if c.onFeatures != nil {
		if err := c.onFeatures(ctx); err != nil {
			return nil, err
		}
	}
	return &daprpb.FeaturesResponse{Features: []string{"FENCING"}}, nil
}

func (c *component) TryLock(ctx context.Context, req *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
	n := c.locks.Add(1)
	switch {
	case !c.initialized.Load():
		<-time.After(time.Duration(n%2) * c.notInitializedDelay)
		return nil, errNotInitialized()
	case c.onTryLock != nil:
		return c.onTryLock(ctx, req)
	}
	return &lockpb.TryLockResponse{Success: true}, nil
}

func (c *component) Unlock(ctx context.Context, req *lockpb.UnlockRequest) (*lockpb.UnlockResponse, error) {
	c.unlocks.Add(1)
	switch {
	case !c.initialized.Load():
		return nil, errNotInitialized()
	case c.onUnlock != nil:
		return c.onUnlock(ctx, req)
	}
	return &lockpb.UnlockResponse{}, nil
}

func errNotInitialized() error { return withReason(codes.FailedPrecondition, reasonNotInitialized) }

// withReason returns an error as a component sends it: a code, a message and an
// ErrorInfo.
func withReason(code codes.Code, reason string) error {
	s, err := status.New(code, "no such instance").WithDetails(&errdetails.ErrorInfo{Reason: reason})
	if err != nil {
		panic(err)
	}
	return s.Err()
}

// process simulates the process of a component with a socket in memory, so that it runs
// in a synctest bubble. It can be killed and restarted.
type process struct {
	mu       sync.Mutex
	server   *grpc.Server
	listener *bufconn.Listener // nil while the process does not run
}

// run starts a process with c, which ends with the test.
func run(t *testing.T, c *component) *process {
	p := &process{}
	p.start(c)
	t.Cleanup(p.kill)
	return p
}

func (p *process) start(c *component) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener = bufconn.Listen(1 << 16)
	p.server = grpc.NewServer()
	lockpb.RegisterLockStoreServer(p.server, c)
	go p.server.Serve(p.listener)
}

// kill ends the process immediately, and calls in progress fail. It does nothing if the
// process does not run.
func (p *process) kill() { p.end((*grpc.Server).Stop) }

// stop ends the process gracefully: it completes calls in progress and accepts no others.
func (p *process) stop() { p.end((*grpc.Server).GracefulStop) }

func (p *process) end(stop func(*grpc.Server)) {
	p.mu.Lock()
	listening := p.listener != nil
	p.listener = nil
	p.mu.Unlock()
	if listening {
		stop(p.server)
	}
}

func (p *process) connect(ctx context.Context, _ string) (net.Conn, error) {
	p.mu.Lock()
	listener := p.listener
	p.mu.Unlock()
	if listener == nil {
		return nil, syscall.ECONNREFUSED
	}
	return listener.DialContext(ctx)
}

// dial is a pluggable.GRPCConnectionDialer that blocks like the one of discovery.
func (p *process) dial(ctx context.Context, _ string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	opts = append([]grpc.DialOption{
		grpc.WithBlock(), grpc.FailOnNonTempDialError(true),
		grpc.WithContextDialer(p.connect), grpc.WithTransportCredentials(insecure.NewCredentials()),
	}, opts...)
	return grpc.DialContext(ctx, "passthrough:///memory", opts...)
}

// newStore returns a store for the component in p, without initializing it. The store is
// closed when the test ends.
func newStore(t *testing.T, p *process) *grpcLockStore {
	s := newGRPCLockStore(silent(), p.dial)
	t.Cleanup(func() { s.Close() })
	return s
}

func silent() logger.Logger {
	l := logger.NewLogger("test")
	l.SetOutput(io.Discard)
	return l
}

// open returns an initialized store for the component in p.
func open(t *testing.T, p *process) *grpcLockStore {
	t.Helper()
	s := newStore(t, p)
	if err := s.InitLockStore(t.Context(), named("orders", nil)); err != nil {
		t.Fatal(err)
	}
	return s
}

func named(name string, properties map[string]string) contriblock.Metadata {
	return contriblock.Metadata{Base: metadata.Base{Name: name, Properties: properties}}
}

// tryLock calls TryLock and returns only the error.
func tryLock(ctx context.Context, s *grpcLockStore) error {
	_, err := s.TryLock(ctx, &contriblock.TryLockRequest{ResourceID: "lock||a||r", LockOwner: "o", ExpiryInSeconds: 9})
	return err
}
