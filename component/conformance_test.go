package component

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/all"
	"github.com/mortise-lock/mortise/test/conformance"
	"github.com/mortise-lock/mortise/test/servers"
)

// wireHarness is what any store looks like from the other side of the LockStore service.
func wireHarness(storage func(t testing.TB) func() stores.Store) conformance.Harness {
	return conformance.Harness{
		Storage:  storage,
		Features: []string{"FENCING", "PING"},
		MinTTL:   time.Second,
		Slack:    300 * time.Millisecond,
		UTF8:     true,
	}
}

func TestMemoryKeepsTheContractThroughTheWire(t *testing.T) {
	h := wireHarness(func(t testing.TB) func() stores.Store {
		l := bufconn.Listen(1 << 16)
		serveOn(t, l, map[string]string{"store": "memory"})
		return clients(t, "passthrough:///memory", func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) })
	})
	h.Bubble, h.Slack = true, 0 // time stands still on a real socket, but not on a bufconn
	conformance.Run(t, h)
}

func TestRedisKeepsTheContractThroughTheSocket(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, map[string]string{"store": "redis", "redisHost": servers.StartRedis(t).Addr})
	conformance.Run(t, wireHarness(func(t testing.TB) func() stores.Store {
		return clients(t, "unix:"+l.Addr().String(), nil)
	}))
}

// serveOn serves the component "locks" on the listener until the test ends.
func serveOn(t testing.TB, l net.Listener, metadata map[string]string) {
	t.Helper()
	set := instances.New(all.Backends("memory"), logger.NewLogger("test"))
	if err := set.Open(t.Context(), "locks", metadata); err != nil {
		t.Fatal(err)
	}
	server, _ := newServer(set)
	served := make(chan error, 1)
	go func() { served <- server.Serve(set.Listener(l)) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
}

// clients returns a function that opens stores at the other end of a connection of their own.
func clients(t testing.TB, target string, dial func(context.Context, string) (net.Conn, error)) func() stores.Store {
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if dial != nil {
		options = append(options, grpc.WithContextDialer(dial))
	}
	return func() stores.Store {
		conn, err := grpc.NewClient(target, options...)
		if err != nil {
			t.Fatal(err)
		}
		return conformance.NewWire(conn, "locks")
	}
}
