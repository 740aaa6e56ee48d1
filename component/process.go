// Package component runs the Mortise process: a Unix socket and TCP listeners that serve
// every API, and the components that they use.
//
// Start reading at the process (process.go, flags.go, dev.go), and continue with its
// listeners (socket.go, services.go, tcplisteners.go, httpserver.go, sidecarless.go),
// with what protects these (tokenauth.go, tls.go, crossorigin.go, limits.go,
// limitlistener.go, requestdeadline.go, calldeadline.go) and the components in
// resource files (resources.go).
package component

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/internal/telemetry"
	"github.com/mortise-lock/mortise/component/rtm"
	"github.com/mortise-lock/mortise/stores"
)

// Options are the options of a process.
type Options struct {
	Name       string      // of the socket; the component type is "lock." + Name
	Folder     string      // where the socket appears
	SocketMode os.FileMode // permissions of the socket
	TCP        TCPOptions

	// Components are opened before those of ResourcePaths.
	Components []Component

	// ResourcePaths are YAML files, or folders of them, whose components are opened
	// before the socket appears.
	ResourcePaths []string

	// StartDegraded starts the process even if the storage of a component is
	// unreachable, and opens that component later.
	StartDegraded bool

	DrainTimeout time.Duration // how long calls in progress may take at shutdown
	Tracing      bool          // export traces; OpenTelemetry's variables configure them
	Version      string        // of the program, for metrics and traces

	// Ready, unless it is nil, is called when everything is served.
	Ready func()
}

// Run serves until ctx ends, then removes the socket and finishes the calls in progress.
// It returns an error if it cannot start, if a server fails, or if the shutdown fails. It
// does not change the registry.
func Run(ctx context.Context, o Options, registry *stores.Registry, log logger.Logger) error {
	registry = registry.Clone()
	registry.Common(&rtm.Config{}, rtm.CheckConfig)
	tel, err := o.newTelemetry(ctx, log)
	if err != nil {
		return err
	}
	defer tel.Tracing.Close()
	set := instances.New(registry, log, tel.Wrap)
	if o.StartDegraded {
		set.OpenUnreachableLater(tel.Health.Failing)
	}
	err = serve(ctx, o, set, tel, log)
	return errors.Join(err, set.Close())
}

// newTelemetry returns the telemetry that the options turn on.
func (o Options) newTelemetry(ctx context.Context, log logger.Logger) (tel telemetry.Telemetry, err error) {
	tel.Health = telemetry.NewHealth(log)
	if o.TCP.MetricsAddress != "" {
		tel.Metrics = telemetry.NewMetrics(o.Version, tel.Health)
		if o.TCP.LockEventMetrics {
			tel.Metrics.CountLockEvents()
		}
	}
	if o.Tracing {
		tel.Tracing, err = telemetry.NewTracing(ctx, o.Version, os.Getenv, log)
	}
	return tel, err
}

// serve opens the components, serves all listeners, and shuts down when ctx ends.
func serve(ctx context.Context, o Options, set *instances.Set, tel telemetry.Telemetry, log logger.Logger) (err error) {
	listeners, err := newTCPListeners(o.TCP, log)
	if err != nil {
		return err
	}
	socket, err := listen(o.Folder, o.Name, o.SocketMode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, socket.remove()) }()
	services := newServices(set, log)
	services.telemetry = tel
	defer services.close()
	components, err := services.open(ctx, o, log)
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	if services.sidecarless, err = newSidecarlessAPIs(o.TCP.Dapr, components, services); err != nil {
		return errors.Join(err, socket.Close())
	}
	// failed has room for one error of each server.
	s := &serverGroup{failed: make(chan error, 1+len(o.TCP.endpoints()))}
	s.start(socketServer(services), set.Listener(services.bindings.Listener(socket)))
	if err := listeners.serve(ctx, s, services); err != nil {
		s.drain(0)
		return err
	}
	if err := socket.publish(); err != nil {
		s.drain(0)
		return err
	}
	log.Infof("Ready on %s", socket.path)
	if o.Ready != nil {
		o.Ready()
	}

	select {
	case err = <-s.failed:
	case <-ctx.Done():
	}
	log.Info("Shutting down")
	tel.Health.SetShuttingDown()
	s.notReady()
	services.endWaiting()
	// The socket file is removed before its listener is closed, because a daprd waits for
	// a socket that does not accept.
	err = errors.Join(err, socket.unlink())
	s.drain(o.DrainTimeout)
	return err
}

// server serves a listener.
type server interface {
	// Serve returns when the server is stopped or fails.
	Serve(net.Listener) error

	// notReady sets the server's health to NOT_SERVING.
	notReady()

	// GracefulStop takes no more calls, and returns when those in progress have finished.
	GracefulStop()

	// Stop cancels the calls in progress, and returns when they have finished.
	Stop()
}

// serverGroup is the servers of the process, each with its listener.
type serverGroup struct {
	servers []server
	serving sync.WaitGroup
	failed  chan error // errors of servers; has room for all
}

// start serves the listener until the server is stopped or fails.
func (s *serverGroup) start(next server, l net.Listener) {
	s.servers = append(s.servers, next)
	s.serving.Go(func() {
		err := next.Serve(l)
		if err != nil && !errors.Is(err, grpc.ErrServerStopped) && !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve: %w", err)
		}
	})
}

// notReady makes the health of all servers report that they take no more calls.
func (s *serverGroup) notReady() {
	for _, server := range s.servers {
		server.notReady()
	}
}

// drain stops taking calls and waits until those in progress have finished. It cancels
// calls that take longer than the timeout.
func (s *serverGroup) drain(timeout time.Duration) {
	for _, server := range s.servers {
		s.serving.Go(func() {
			stop := time.AfterFunc(timeout, server.Stop)
			defer stop.Stop()
			server.GracefulStop()
		})
	}
	s.serving.Wait()
}
