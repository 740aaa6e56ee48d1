package pluggablelock

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	contriblock "github.com/dapr/components-contrib/lock"
	"github.com/dapr/dapr/pkg/components/lock"
	"github.com/dapr/dapr/pkg/components/pluggable"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
)

// TestDiscovery covers the whole chain over a socket: daprd's discovery finds the
// component, its registry creates stores, the component distinguishes them by the header,
// and is restarted.
func TestDiscovery(t *testing.T) {
	folder := t.TempDir()
	t.Setenv(pluggable.SocketFolderEnvVar, folder)
	socket := filepath.Join(folder, "mortise.sock")
	c := &component{}
	server := serve(t, socket, c)

	if err := pluggable.Discover(t.Context()); err != nil {
		t.Fatal(err)
	}
	lock.DefaultRegistry.Logger = silent()
	instances := make(chan []string, 2)
	for _, name := range []string{"orders", "stock"} {
		store := create(t, name)
		c.onTryLock = func(ctx context.Context, _ *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
			instances <- metadata.ValueFromIncomingContext(ctx, "x-component-instance")
			return &lockpb.TryLockResponse{Success: true}, nil
		}
		if _, err := store.TryLock(t.Context(), &contriblock.TryLockRequest{}); err != nil {
			t.Fatal(err)
		}
		if got := <-instances; len(got) != 1 || got[0] != name {
			t.Errorf("header is %q, want %s", got, name)
		}
	}

	store := create(t, "orders")
	server.GracefulStop()
	serve(t, socket, &component{})
	if resp, err := store.TryLock(t.Context(), &contriblock.TryLockRequest{}); err != nil || !resp.Success {
		t.Errorf("after a restart TryLock = %+v, %v", resp, err)
	}
}

// serve serves c at a socket, as a pluggable component does, until the test ends.
func serve(t *testing.T, socket string, c *component) *grpc.Server {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	lockpb.RegisterLockStoreServer(server, c)
	reflection.Register(server)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return server
}

// create returns an initialized store, as daprd creates it for a component YAML of type
// lock.mortise.
func create(t *testing.T, name string) contriblock.Store {
	t.Helper()
	store, err := lock.DefaultRegistry.Create("lock.mortise", "v1", name)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.InitLockStore(t.Context(), named(name, nil)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}
