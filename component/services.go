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
	"github.com/mortise-lock/mortise/component/rtm/rtmhttp"
	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

const (
	// streamWorkers is the number of goroutines that stay to serve calls. Without them
	// each call starts a goroutine, whose stack has to grow. More calls than that start a
	// goroutine each.
	streamWorkers = 64

	// flowControlWindow is how many bytes a client may send ahead. A fixed size saves the
	// pings by which gRPC estimates the bandwidth, which a Unix socket does not need.
	flowControlWindow = 1 << 20

	// handshakeTimeout is how long a client may take for the handshake. Shutdown waits
	// for clients that have connected and send nothing.
	handshakeTimeout = 5 * time.Second

	// minPingInterval is the shortest interval at which clients may ping. gRPC's default
	// of five minutes would disconnect clients that detect dead connections soon.
	minPingInterval = 5 * time.Second
)

// services are the gRPC services and APIs of the process, for all listeners.
type services struct {
	set         *instances.Set
	locks       lockspb.LocksServer
	channels    rtmpb.ChannelLocksServer
	bindings    *binding.Service
	sidecarless sidecarlessAPIs
	telemetry   telemetry.Telemetry
	close       func() // ends the goroutines of the services
}

// newServices returns the services for the components of the set.
func newServices(set *instances.Set, log logger.Logger) services {
	channels := rtm.New(set.Resolver(), log)
	s := services{set: set, locks: locks.New(set.Resolver()), channels: channels}
	s.bindings = binding.New(set, s.locks, rtmhttp.JSON{ChannelLocksServer: channels}, log)
	s.close = func() {
		s.bindings.Close()
		channels.Close()
	}
	return s
}

// endWaiting ends the calls that wait for locks and the streams, without waiting for
// their end. Other calls continue.
func (s services) endWaiting() {
	s.set.EndWaiting()
	s.bindings.EndReading()
}

// register registers the services of clients that do not open components.
func (s services) register(r grpc.ServiceRegistrar) {
	lockspb.RegisterLocksServer(r, s.locks)
	rtmpb.RegisterChannelLocksServer(r, s.channels)
}

// grpcServer is a gRPC server with the health of its services.
type grpcServer struct {
	*grpc.Server
	health *health.Server
}

// newGRPCServer returns a server with the services that register adds, with health and
// with reflection. The server and its services are healthy until the process shuts down,
// even while a storage is unreachable, because a restart would not help. Each component
// has a health of its own.
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

// socketServer returns the server for the socket. It serves every service: processes that
// can open the socket are trusted.
func socketServer(s services) server {
	return s.newGRPCServer(func(r grpc.ServiceRegistrar) {
		lockpb.RegisterLockStoreServer(r, lockstore.New(s.set))
		s.bindings.Register(r)
		s.register(r)
	}, grpc.StaticStreamWindowSize(flowControlWindow), grpc.StaticConnWindowSize(flowControlWindow))
}
