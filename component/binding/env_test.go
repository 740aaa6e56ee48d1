package binding

import (
	"context"
	"encoding/json"
	"net"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/locks"
	"github.com/mortise-lock/mortise/component/rtm"
	"github.com/mortise-lock/mortise/component/rtm/rtmhttp"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores/all"
)

// env is a process with bindings, on its own listener.
type env struct {
	*testing.T
	*Service
	set     *instances.Set
	l       *bufconn.Listener
	process atomic.Int64 // of the connections' clients
}

// inEnv runs a test in a synctest bubble, with the real services, and memory stores named
// locks and others. No goroutine is left after it.
func inEnv(t *testing.T, test func(e *env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := logger.NewLogger("test")
		registry := all.Backends("memory")
		registry.Common(&rtm.Config{}, rtm.CheckConfig)
		set := instances.New(registry, log)
		for _, name := range []string{"locks", "others"} {
			if err := set.Open(t.Context(), name, nil); err != nil {
				t.Fatal(err)
			}
		}
		channels := rtm.New(set.Resolver(), log)
		e := &env{T: t, Service: New(set, locks.New(set.Resolver()), rtmhttp.JSON{ChannelLocksServer: channels}, log), set: set}
		e.conns.peerProcess = func(net.Conn) int { return int(e.process.Load()) }
		end := e.serve()
		defer func() {
			end()
			channels.Close()
			if err := set.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(e)
	})
}

// serve serves the bindings until end is called.
func (e *env) serve() (end func()) {
	e.l = bufconn.Listen(1 << 16)
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	e.Register(server)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(e.set.Listener(e.Listener(e.l))) }()
	return func() {
		e.Close()
		server.Stop()
		if err := <-ended; err != nil {
			e.Error(err)
		}
	}
}

// sidecar is a connection of a daprd for one component. Each call carries the component's
// name.
type sidecar struct {
	*env
	conn   *grpc.ClientConn
	output daprpb.OutputBindingClient
	input  daprpb.InputBindingClient
}

func (e *env) dial(name string) *sidecar {
	e.Helper()
	named := func(ctx context.Context) context.Context {
		return metadata.AppendToOutgoingContext(ctx, instances.Header, name)
	}
	conn, err := grpc.NewClient("passthrough:///bindings",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return e.l.DialContext(ctx) }),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
			invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
			return invoke(named(ctx), method, req, reply, cc, o...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
			open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(named(ctx), desc, cc, method, o...)
		}))
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = conn.Close() })
	return &sidecar{e, conn, daprpb.NewOutputBindingClient(conn), daprpb.NewInputBindingClient(conn)}
}

// newOutput returns a sidecar that has initialized an output binding.
func (e *env) newOutput(name string, md map[string]string) *sidecar {
	e.Helper()
	s := e.dial(name)
	if _, err := s.output.Init(e.Context(), &daprpb.OutputBindingInitRequest{Metadata: properties(md)}); err != nil {
		e.Fatal(err)
	}
	return s
}

func properties(md map[string]string) *daprpb.MetadataRequest {
	return &daprpb.MetadataRequest{Properties: md}
}

// invoke runs an operation and returns the answer.
func (s *sidecar) invoke(operation, data string) (map[string]any, error) {
	s.Helper()
	resp, err := s.output.Invoke(s.Context(), &daprpb.InvokeRequest{Operation: operation, Data: []byte(data)})
	if err != nil {
		return nil, err
	}
	if resp.GetContentType() != "application/json" {
		s.Errorf("%s: content type %s", operation, resp.GetContentType())
	}
	return s.decode(resp.GetData()), nil
}

func (e *env) decode(data []byte) (object map[string]any) {
	e.Helper()
	if err := json.Unmarshal(data, &object); err != nil {
		e.Fatalf("%s: %v", data, err)
	}
	return object
}

// expect runs an operation and compares the answer. A null in want stands for any value.
func (s *sidecar) expect(operation, data, want string) map[string]any {
	s.Helper()
	got, err := s.invoke(operation, data)
	if err != nil {
		s.Fatalf("%s %s: %v", operation, data, err)
	}
	s.compare(operation+" "+data, got, want)
	return got
}

// compare compares an object with want, in which null stands for any value except the
// zero value.
func (e *env) compare(what string, got map[string]any, want string) {
	e.Helper()
	if !matches(got, e.decode([]byte(want))) {
		text, _ := json.Marshal(got)
		e.Fatalf("%s: got %s, want %s", what, text, want)
	}
}

func matches(got, want any) bool {
	switch want := want.(type) {
	case nil:
		return got != nil && !reflect.ValueOf(got).IsZero()
	case map[string]any:
		object, ok := got.(map[string]any)
		for name := range want {
			ok = ok && matches(object[name], want[name])
		}
		return ok && len(object) == len(want)
	case []any:
		list, ok := got.([]any)
		ok = ok && len(list) == len(want)
		for i := range want {
			ok = ok && matches(list[i], want[i])
		}
		return ok
	}
	return got == want
}

// watchStream is the stream of Watch.
type watchStream = grpc.ServerStreamingServer[lockspb.WatchResponse]

// locksServer is a Locks service whose Watch calls watch.
type locksServer struct {
	lockspb.UnimplementedLocksServer
	watch func(watchStream) error
}

func (l *locksServer) Watch(_ *lockspb.WatchRequest, stream watchStream) error {
	return l.watch(stream)
}
