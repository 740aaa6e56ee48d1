// Package binding is the API of sidecars that have no pluggable locks: Dapr's input and
// output bindings.
//
// An app reaches every operation of the Locks and ChannelLocks services by the output
// binding, in JSON, and hears of locks that change hands by the input binding. Both
// services are called in this process, so they alone decide what is valid, and what
// becomes of it.
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
	"google.golang.org/grpc/metadata"

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
	// Operations names the operations that Invoke knows.
	Operations() []string
	// Invoke runs an operation with the component's store. An error is a gRPC status, and
	// comes with an answer that tells it.
	Invoke(ctx context.Context, store, operation string, request []byte) (answer []byte, err error)
	// Subscribe is that of the service.
	Subscribe(*rtmpb.SubscribeRequest, grpc.ServerStreamingServer[rtmpb.LockEvent]) error
	// Event returns an event of Subscribe in JSON.
	Event(*rtmpb.LockEvent) []byte
}

// Service serves bindings to sidecars. All methods are safe for concurrent use.
//
// A binding belongs to the sidecar that has initialized it. Sidecars that have
// initialized none by a name get what the process has opened itself, from resource files.
type Service struct {
	stores   Opener
	locks    lockspb.LocksServer
	channels ChannelLocks
	log      logger.Logger

	conns      *connRegistry
	operations map[string]operation // by name

	readCtx   context.Context // ends when reading shall
	endReads  context.CancelFunc
	mu        sync.Mutex // held to begin to read, and to end
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

// Open initializes a binding for the sidecar of ctx. The process does this by itself, as
// nobody, for the bindings in resource files.
func (s *Service) Open(ctx context.Context, name string, metadata map[string]string) error {
	b, err := parse(name, metadata)
	if err != nil {
		return fmt.Errorf("binding %q: %w", name, err)
	}
	return s.open(ctx, b)
}

// open makes the binding ready for calls by the connection of ctx: it opens its store if
// it has its own.
func (s *Service) open(ctx context.Context, b *binding) error {
	if b.ownMetadata != nil {
		if err := s.stores.Open(ctx, b.name, b.ownMetadata); err != nil {
			return err
		}
	}
	s.conns.put(ctx, b)
	return nil
}

// EndReading ends the streams of the input bindings, and those that come later at once.
// It does not wait: a stream whose sidecar does not read ends with its connection.
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

// init is Open for a binding that a sidecar initializes.
func (s *Service) init(ctx context.Context, m *daprpb.MetadataRequest) error {
	return rpcstatus.StatusOr(s.Open(ctx, instanceName(ctx), m.GetProperties()), codes.InvalidArgument, "INIT_FAILED")
}

// find returns the binding that a call is for, and makes it ready. The error is a gRPC
// status.
func (s *Service) find(ctx context.Context) (*binding, error) {
	name := instanceName(ctx)
	b, ready := s.conns.find(ctx, name)
	switch {
	case b == nil:
		return nil, rpcstatus.Status(fmt.Errorf("binding %q: %w; its sidecar must start anew, or its file be in --resources-path",
			name, instances.ErrNotInitialized))
	case !ready:
		return b, rpcstatus.Status(s.open(ctx, b))
	}
	return b, nil
}

// instanceName is the component that the call is for.
func instanceName(ctx context.Context) string {
	if names := metadata.ValueFromIncomingContext(ctx, instances.Header); len(names) > 0 {
		return names[0]
	}
	return ""
}
