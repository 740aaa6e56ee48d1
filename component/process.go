// Package component is the process: the socket, the services on it, and their beginning
// and end.
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

// Options says where and how to serve.
type Options struct {
	Name          string        // of the socket without ".sock"; the component type is "lock." and this name
	Folder        string        // where the socket appears
	SocketMode    os.FileMode   // who may connect
	ResourcePaths []string      // YAML files, or folders of them, whose components are opened before the socket appears
	StartDegraded bool          // to start although a component's storage is unreachable, and to open that component later
	DrainTimeout  time.Duration // how long calls under way may take to finish at the end
	TCP           TCPOptions
	Tracing       bool   // export traces, as OpenTelemetry's environment variables say
	Version       string // of the program, for metrics and traces

	// Components are opened like those of ResourcePaths, before them.
	Components []Component

	// Ready, unless it is nil, is called when everything is served.
	Ready func()
}

// Run serves until ctx ends, then removes the socket and finishes the calls under way. It
// returns an error if it cannot start, or cannot go on, or cannot end in order.
func Run(ctx context.Context, o Options, registry *stores.Registry, log logger.Logger) error {
	registry = registry.Clone() // the caller's stays as it is
	registry.Common(&rtm.Config{}, rtm.CheckConfig)
	observed, err := o.newTelemetry(ctx, log)
	if err != nil {
		return err
	}
	defer observed.Tracing.Close()
	set := instances.New(registry, log, observed.Wrap)
	if o.StartDegraded {
		set.OpenUnreachableLater(observed.Health.Failing)
	}
	err = serve(ctx, o, set, observed, log)
	return errors.Join(err, set.Close())
}

// observe returns what observes the process, as far as somebody wants to know.
func (o Options) newTelemetry(ctx context.Context, log logger.Logger) (observed telemetry.Telemetry, err error) {
	observed.Health = telemetry.NewHealth(log)
	if o.TCP.MetricsAddress != "" {
		observed.Metrics = telemetry.NewMetrics(o.Version, observed.Health)
		if o.TCP.LockEventMetrics {
			observed.Metrics.CountLockEvents()
		}
	}
	if o.Tracing {
		observed.Tracing, err = telemetry.NewTracing(ctx, o.Version, os.Getenv, log)
	}
	return observed, err
}

func serve(ctx context.Context, o Options, set *instances.Set, observed telemetry.Telemetry, log logger.Logger) (err error) {
	network, err := newTCPListeners(o.TCP, log)
	if err != nil {
		return err
	}
	socket, err := listen(o.Folder, o.Name, o.SocketMode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, socket.remove()) }()
	served := newServices(set, log)
	served.telemetry = observed
	defer served.close()
	components, err := served.open(ctx, o, log)
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	if served.sidecarless, err = newSidecarlessAPIs(o.TCP.Dapr, components, served); err != nil {
		return errors.Join(err, socket.Close())
	}
	s := &serverGroup{failed: make(chan error, 1+len(o.TCP.endpoints()))} // one for each
	s.start(socketServer(served), set.Listener(served.bindings.Listener(socket)))
	if err := network.serve(ctx, s, served); err != nil {
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
	observed.Health.SetShuttingDown()
	s.notReady()
	served.endWaiting()
	err = errors.Join(err, socket.unlink()) // before it is closed: a daprd that finds it would wait for an answer
	s.drain(o.DrainTimeout)
	return err
}

// server serves a listener.
type server interface {
	Serve(net.Listener) error // until it is stopped
	notReady()                // lets the health tell that no more calls are wanted
	GracefulStop()            // takes no more calls, and returns when those under way have finished
	Stop()                    // cancels the calls under way
}

// serverGroup is the process's servers, each on a listener of its own.
type serverGroup struct {
	servers []server
	serving sync.WaitGroup
	failed  chan error // why servers have ended that nobody stopped; has room for all
}

// start lets the server serve until it is stopped, or fails.
func (s *serverGroup) start(next server, l net.Listener) {
	s.servers = append(s.servers, next)
	s.serving.Go(func() {
		err := next.Serve(l)
		if err != nil && !errors.Is(err, grpc.ErrServerStopped) && !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve: %w", err)
		}
	})
}

// notReady lets the health tell that no more calls are wanted.
func (s *serverGroup) notReady() {
	for _, server := range s.servers {
		server.notReady()
	}
}

// drain stops taking calls and lets those under way finish; what takes longer than the
// timeout is cancelled. It returns when nothing of the servers is left.
func (s *serverGroup) drain(timeout time.Duration) {
	for _, server := range s.servers {
		s.serving.Go(func() {
			impatient := time.AfterFunc(timeout, server.Stop)
			defer impatient.Stop()
			server.GracefulStop()
		})
	}
	s.serving.Wait()
}
