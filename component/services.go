package component

import (
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/mortise-lock/mortise/component/binding"
	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/internal/telemetry"
	"github.com/mortise-lock/mortise/component/locks"
	"github.com/mortise-lock/mortise/component/lockstore"
	"github.com/mortise-lock/mortise/component/rtm"
	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

const (
	// streamWorkers is how many goroutines stay to serve calls. Else each call starts
	// one, and grows its stack anew. More calls than that get a goroutine of their own,
	// as usual.
	streamWorkers = 64

	// window is how many bytes a client may send ahead. A fixed size spares the pings by
	// which gRPC measures a distance that a Unix socket does not have.
	flowControlWindow = 1 << 20

	// handshakeTimeout is how long a client may take to begin. One that connects and says
	// nothing holds up the end.
	handshakeTimeout = 5 * time.Second

	// leastPing is how often clients may ping. gRPC's own least, five minutes, would take
	// those for hostile that want to notice soon that a connection is dead.
	minPingInterval = 5 * time.Second
)

// services are what clients ask for, by whichever way they come in.
type services struct {
	set         *instances.Set
	locks       lockspb.LocksServer
	channels    rtmpb.ChannelLocksServer
	bindings    *binding.Service
	sidecarless sidecarlessAPIs
	telemetry   telemetry.Telemetry
	close       func() // ends what the services have started
}

// newServices returns services that use the components of the set.
func newServices(set *instances.Set, log logger.Logger) services {
	channels := rtm.New(set.Resolver(), log)
	s := services{set: set, locks: locks.New(set.Resolver()), channels: channels}
	s.bindings = binding.New(set, s.locks, rtm.JSON{ChannelLocksServer: channels}, log)
	s.close = func() {
		s.bindings.Close()
		channels.Close()
	}
	return s
}

// endWaiting ends the calls that wait and the streams, and does not wait for their end.
// Other calls go on.
func (s services) endWaiting() {
	s.set.EndWaiting()
	s.bindings.EndReading()
}

// register adds the services for clients that open no components.
func (s services) register(r grpc.ServiceRegistrar) {
	lockspb.RegisterLocksServer(r, s.locks)
	rtmpb.RegisterChannelLocksServer(r, s.channels)
}

// grpcServer is a gRPC server, and the health that tells of its services.
type grpcServer struct {
	*grpc.Server
	health *health.Server
}

// newGRPCServer returns a server with those of the services that register adds, and
// health and reflection beside them. The health of the server and of its services is that
// of the process: they serve from the beginning until it shuts down, also while some
// storage is away, which no restart would bring back. A component has a health of its
// own.
func (s services) newGRPCServer(register func(grpc.ServiceRegistrar), options ...grpc.ServerOption) *grpcServer {
	options = append(options, s.telemetry.ServerOptions()...)
	options = append(options,
		grpc.WaitForHandlers(true),
		grpc.ChainUnaryInterceptor(shortenDeadline),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingInterval, PermitWithoutStream: true}),
	)
	g := &grpcServer{grpc.NewServer(options...), health.NewServer()}
	register(g)
	for name := range g.GetServiceInfo() {
		g.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	s.telemetry.Health.AddServer(g.health)
	healthpb.RegisterHealthServer(g, g.health)
	reflection.Register(g) // v1, and v1alpha for daprd
	return g
}

func (s *grpcServer) notReady() { s.health.Shutdown() }

// socketServer returns the server for the socket, with every service on it: who can open
// the socket is trusted.
func socketServer(s services) server {
	return s.newGRPCServer(func(r grpc.ServiceRegistrar) {
		lockpb.RegisterLockStoreServer(r, lockstore.New(s.set))
		s.bindings.Register(r)
		s.register(r)
	}, grpc.StaticStreamWindowSize(flowControlWindow), grpc.StaticConnWindowSize(flowControlWindow))
}
