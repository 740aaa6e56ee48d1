// Package binding is the API for sidecars without pluggable lock components: Dapr's input
// and output bindings.
//
// An app calls every operation of the Locks and ChannelLocks services through the output
// binding, in JSON, and receives the events of locks through the input binding. The
// binding calls both services within this process. They alone validate requests and
// decide their results.
package binding

import (
	"context"
	"fmt"
	"maps"
	"sync"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// Opener opens stores for bindings that have their own; see [instances.Set.Open].
type Opener interface {
	Open(ctx context.Context, name string, metadata map[string]string) error
}

// ChannelLocks is the ChannelLocks service in RTM's JSON.
type ChannelLocks interface {
	// Operations returns the names of the operations that Invoke supports.
	Operations() []string
	// Invoke runs an operation with the component's store. An error is a gRPC status, and
	// comes with an answer that reports it in RTM's format.
	Invoke(ctx context.Context, store, operation string, request []byte) (answer []byte, err error)
	// Subscribe is the service's.
	Subscribe(*rtmpb.SubscribeRequest, grpc.ServerStreamingServer[rtmpb.LockEvent]) error
	// Event returns an event of Subscribe in JSON.
	Event(*rtmpb.LockEvent) []byte
}

// Service serves bindings to sidecars. All methods are safe for concurrent use.
//
// A binding belongs to the sidecar that has initialized it. A sidecar that has not
// initialized a binding of a name uses the one that the process has opened from its
// resource files.
type Service struct {
	stores   Opener
	locks    lockspb.LocksServer
	channels ChannelLocks
	log      logger.Logger

	conns      *connRegistry
	operations map[string]operation // by name

	readCtx   context.Context // ends with EndReading
	endReads  context.CancelFunc
	mu        sync.Mutex // held to start and to end a read
	receivers sync.WaitGroup
}

// New returns a service whose bindings call locks and channels.
func New(stores Opener, locks lockspb.LocksServer, channels ChannelLocks, log logger.Logger) *Service {
	s := &Service{stores: stores, locks: locks, channels: channels, log: log, conns: newConnRegistry()}
	s.operations = s.lockOperations()
	maps.Copy(s.operations, s.channelOperations())
	s.readCtx, s.endReads = context.WithCancel(context.Background())
	return s
}

// Register adds both bindings to a server.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	daprpb.RegisterInputBindingServer(r, &input{service: s})
	daprpb.RegisterOutputBindingServer(r, &output{service: s})
}

// Open initializes a binding for the sidecar of ctx. The process calls it without a
// sidecar for the bindings in its resource files.
func (s *Service) Open(ctx context.Context, name string, metadata map[string]string) error {
	b, err := parse(name, metadata)
	if err != nil {
		return fmt.Errorf("binding %q: %w", name, err)
	}
	return s.open(ctx, b)
}

// open prepares the binding for calls from the connection of ctx: it opens the binding's
// own store, if it has one.
func (s *Service) open(ctx context.Context, b *binding) error {
	if b.ownMetadata != nil {
		if err := s.stores.Open(ctx, b.name, b.ownMetadata); err != nil {
			return err
		}
	}
	s.conns.put(ctx, b)
	return nil
}

// EndReading ends the streams of the input bindings. Later ones end immediately.
// EndReading does not wait: a stream whose sidecar does not read ends with its
// connection.
func (s *Service) EndReading() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endReads()
}

// Close ends the streams of the input bindings and waits for them.
func (s *Service) Close() {
	s.EndReading()
	s.receivers.Wait()
}

// init is Open for a sidecar's Init.
func (s *Service) init(ctx context.Context, m *daprpb.MetadataRequest) error {
	return rpcstatus.StatusOr(s.Open(ctx, instances.NameFromHeader(ctx), m.GetProperties()), codes.InvalidArgument, "INIT_FAILED")
}

// find returns the binding that a call is for, and prepares it for the call's connection.
// The error is a gRPC status.
func (s *Service) find(ctx context.Context) (*binding, error) {
	name := instances.NameFromHeader(ctx)
	b, ready := s.conns.find(ctx, name)
	switch {
	case b == nil:
		return nil, rpcstatus.Status(fmt.Errorf("binding %q: %w; restart its sidecar, or put its file into --resources-path",
			name, instances.ErrNotInitialized))
	case !ready:
		return b, rpcstatus.Status(s.open(ctx, b))
	}
	return b, nil
}
