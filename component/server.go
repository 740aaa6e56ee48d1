// Package component is the process: the socket, the services on it, and their beginning and end.
package component

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/lockstore"
	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	"github.com/mortise-lock/mortise/stores"
)

const (
	// streamWorkers is how many goroutines stay to serve calls. Else each call starts one, and grows its stack anew. More
	// calls than that get a goroutine of their own, as usual.
	streamWorkers = 64

	// window is how many bytes a client may send ahead. A fixed size spares the pings by which gRPC measures a distance that
	// a Unix socket does not have.
	window = 1 << 20
)

// Options says where and how to serve.
type Options struct {
	Name          string        // of the socket without ".sock"; the component type is "lock." and this name
	Folder        string        // where the socket appears
	SocketMode    os.FileMode   // who may connect
	ResourcePaths []string      // YAML files, or folders of them, whose components are opened before the socket appears
	DrainTimeout  time.Duration // how long calls under way may take to finish at the end
}

// Run serves until ctx ends, then finishes the calls under way and removes the socket. It returns an error if it cannot
// start, or cannot go on, or cannot end in order.
func Run(ctx context.Context, o Options, registry *stores.Registry, log logger.Logger) error {
	set := instances.New(registry, log)
	err := serve(ctx, o, set, log)
	return errors.Join(err, set.Close())
}

func serve(ctx context.Context, o Options, set *instances.Set, log logger.Logger) (err error) {
	socket, err := listen(o.Folder, o.Name, o.SocketMode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, socket.remove()) }()
	if err := openResources(ctx, o, set, log); err != nil {
		return errors.Join(err, socket.Close())
	}

	server, ready := newServer(set)
	served := make(chan error, 1)
	go func() { served <- server.Serve(set.Listener(socket)) }()
	if err := socket.publish(); err != nil {
		server.Stop()
		return errors.Join(err, <-served)
	}
	log.Infof("Ready on %s", socket.path)

	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	log.Info("Shutting down")
	ready.Shutdown()
	drain(server, o.DrainTimeout)
	if err := <-served; !errors.Is(err, grpc.ErrServerStopped) { // it was stopped before it began
		return err
	}
	return nil
}

// newServer returns a server with every service of the socket on it, and the health that tells of them.
func newServer(set *instances.Set) (*grpc.Server, *health.Server) {
	server := grpc.NewServer(
		grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
	)
	lockpb.RegisterLockStoreServer(server, lockstore.New(set))
	ready := health.NewServer()
	for name := range server.GetServiceInfo() {
		ready.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	healthpb.RegisterHealthServer(server, ready)
	reflection.Register(server) // v1, and v1alpha for daprd
	return server, ready
}

// drain stops taking calls and lets those under way finish; what takes longer than the timeout is cancelled.
func drain(server *grpc.Server, timeout time.Duration) {
	impatient := time.AfterFunc(timeout, server.Stop)
	defer impatient.Stop()
	server.GracefulStop()
}
