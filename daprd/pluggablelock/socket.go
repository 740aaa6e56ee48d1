package pluggablelock

import (
	"context"
	"crypto/rand"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"github.com/dapr/dapr/pkg/components/pluggable"
	"github.com/dapr/kit/logger"
)

// socketTimeout is how long discovery waits for a socket that cannot be used.
const socketTimeout = 5 * time.Second

// socketLog logs errors of sockets.
var socketLog = logger.NewLogger("pluggable-components-sockets")

// defaultUnix is gRPC's own resolver of unix targets. Package grpc has registered it.
var defaultUnix = resolver.Get("unix")

func init() { resolver.Register(&unixBuilder{defaultUnix, socketTimeout}) }

// unixBuilder resolves unix targets like gRPC's own resolver, with a timeout for sockets
// in daprd's sockets folder.
//
// daprd's discovery dials every socket there, one after the other, and blocks until each
// has answered. A socket that cannot be used, for example for lack of permission, would
// keep daprd from starting, without a line in the log. Discovery has no options or hooks
// for this, but gRPC resolves its targets. So the resolver probes the socket first. If it
// cannot be used, the resolver logs the reason and connects to a gRPC server without
// services, so that discovery continues with the next socket.
type unixBuilder struct {
	resolver.Builder
	timeout time.Duration
}

// OverrideAuthority returns the same as gRPC's own resolver. Without it, the authority
// would be the path.
func (b *unixBuilder) OverrideAuthority(target resolver.Target) string {
	if own, ok := b.Builder.(resolver.AuthorityOverrider); ok {
		return own.OverrideAuthority(target)
	}
	return "localhost"
}

// Build returns a resolver for the target.
func (b *unixBuilder) Build(target resolver.Target, cc resolver.ClientConn, o resolver.BuildOptions) (resolver.Resolver, error) {
	if filepath.Dir(target.URL.Path) != filepath.Clean(pluggable.GetSocketFolderPath()) {
		return b.Builder.Build(target, cc, o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &unixResolver{cancel: cancel, socket: target.URL.Path, resolve: func(path string) {
		target := resolver.Target{URL: url.URL{Scheme: b.Scheme(), Path: path}}
		// The resolver needs no Close.
		if _, err := b.Builder.Build(target, cc, o); err != nil {
			cc.ReportError(err)
		}
	}}
	r.running.Go(func() { r.run(ctx, b.timeout) })
	return r, nil
}

// unixResolver resolves the target of one connection.
type unixResolver struct {
	socket  string
	resolve func(path string) // sets the address of the connection
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// ResolveNow does nothing: the only address of a socket is its path.
func (*unixResolver) ResolveNow(resolver.ResolveNowOptions) {}

// Close ends the resolver.
func (r *unixResolver) Close() {
	r.cancel()
	r.running.Wait()
}

// run connects to the socket as soon as a component answers there. If none answers within
// the timeout, it connects to a server without services until then.
func (r *unixResolver) run(ctx context.Context, timeout time.Duration) {
	probeCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := awaitComponent(probeCtx, r.socket)
	if err != nil && ctx.Err() == nil {
		socketLog.Errorf("Skipping socket %s, which cannot be used: %v", r.socket, err)
		defer r.serveUnavailable(err)()
		err = awaitChange(ctx, r.socket)
	}
	if err == nil {
		r.resolve(r.socket)
	}
}

// serveUnavailable connects to a new gRPC server, which fails all calls except reflection
// with the reason, until stop is called.
func (r *unixResolver) serveUnavailable(reason error) (stop func()) {
	l, err := listenOutside()
	if err != nil {
		socketLog.Errorf("Cannot skip socket %s: %v", r.socket, err)
		return func() {}
	}
	unusable := status.Errorf(codes.Unavailable, "socket %s of the component cannot be used: %v", r.socket, reason)
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return unusable }))
	reflection.Register(server)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) }) // until Stop
	r.resolve(l.Addr().String())
	return func() {
		server.Stop()
		serving.Wait()
	}
}

// listenOutside listens on a socket outside of the sockets folder. On Linux it has no
// file, because daprd's file system may be read-only.
func listenOutside() (net.Listener, error) {
	name := "daprd-skipped-" + rand.Text()
	if runtime.GOOS == "linux" {
		return net.Listen("unix", "@"+name)
	}
	return net.Listen("unix", filepath.Join(os.TempDir(), name))
}
