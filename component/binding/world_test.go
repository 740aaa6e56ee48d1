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
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores/all"
)

// world is a process with bindings, on its own listener.
type world struct {
	*testing.T
	*Service
	set     *instances.Set
	l       *bufconn.Listener
	process atomic.Int64 // that connections come from
}

// inWorld runs a test in a bubble, with the real services, and memory stores called locks
// and others. Nothing is left after it.
func inWorld(t *testing.T, test func(w *world)) {
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
		w := &world{T: t, Service: New(set, locks.New(set.Resolver()), rtm.JSON{ChannelLocksServer: channels}, log), set: set}
		w.sidecars.processOf = func(net.Conn) int { return int(w.process.Load()) }
		end := w.serve()
		defer func() {
			end()
			channels.Close()
			if err := set.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(w)
	})
}

// serve serves the bindings until end is called.
func (w *world) serve() (end func()) {
	w.l = bufconn.Listen(1 << 16)
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	w.Register(server)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(w.set.Listener(w.Listener(w.l))) }()
	return func() {
		w.Close()
		server.Stop()
		if err := <-ended; err != nil {
			w.Error(err)
		}
	}
}

// sidecar is a connection of a daprd for one component, which tells the component's name
// with each call.
type sidecar struct {
	*world
	conn   *grpc.ClientConn
	output daprpb.OutputBindingClient
	input  daprpb.InputBindingClient
}

func (w *world) dial(name string) *sidecar {
	w.Helper()
	named := func(ctx context.Context) context.Context {
		return metadata.AppendToOutgoingContext(ctx, instances.Header, name)
	}
	conn, err := grpc.NewClient("passthrough:///bindings",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return w.l.DialContext(ctx) }),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
			invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
			return invoke(named(ctx), method, req, reply, cc, o...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
			open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(named(ctx), desc, cc, method, o...)
		}))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = conn.Close() })
	return &sidecar{w, conn, daprpb.NewOutputBindingClient(conn), daprpb.NewInputBindingClient(conn)}
}

// outputOf is a sidecar that has initialized an output binding.
func (w *world) outputOf(name string, md map[string]string) *sidecar {
	w.Helper()
	s := w.dial(name)
	if _, err := s.output.Init(w.Context(), &daprpb.OutputBindingInitRequest{Metadata: properties(md)}); err != nil {
		w.Fatal(err)
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
		s.Errorf("%s answers with %s", operation, resp.GetContentType())
	}
	return s.decode(resp.GetData()), nil
}

func (w *world) decode(data []byte) (object map[string]any) {
	w.Helper()
	if err := json.Unmarshal(data, &object); err != nil {
		w.Fatalf("%s: %v", data, err)
	}
	return object
}

// expect runs an operation whose answer is known but for the fields that are named with
// null.
func (s *sidecar) expect(operation, data, want string) map[string]any {
	s.Helper()
	got, err := s.invoke(operation, data)
	if err != nil {
		s.Fatalf("%s %s: %v", operation, data, err)
	}
	s.compare(operation+" "+data, got, want)
	return got
}

// compare compares an object with a known one, in which null stands for anything but
// nothing.
func (w *world) compare(what string, got map[string]any, want string) {
	w.Helper()
	if !matches(got, w.decode([]byte(want))) {
		text, _ := json.Marshal(got)
		w.Fatalf("%s: got %s, want %s", what, text, want)
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

// watchStream is where a Watch tells.
type watchStream = grpc.ServerStreamingServer[lockspb.WatchResponse]

// locksServer is a Locks service whose Watch does what it is told to.
type locksServer struct {
	lockspb.UnimplementedLocksServer
	watch func(watchStream) error
}

func (l *locksServer) Watch(_ *lockspb.WatchRequest, stream watchStream) error {
	return l.watch(stream)
}
