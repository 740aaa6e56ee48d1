package pluggablelock

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	contriblock "github.com/dapr/components-contrib/lock"
	conformance "github.com/dapr/components-contrib/tests/conformance/lock"
	"github.com/dapr/dapr/pkg/components/lock"
	"github.com/dapr/dapr/pkg/components/pluggable"

	mortise "github.com/mortise-lock/mortise/component"
	"github.com/mortise-lock/mortise/stores/all"
	"github.com/mortise-lock/mortise/test/servers"
)

// TestDaprConformance runs Dapr's own conformance suite for locks on every store, through
// daprd's discovery, this package, the socket and the LockStore service.
func TestDaprConformance(t *testing.T) {
	folder := t.TempDir()
	t.Setenv(pluggable.SocketFolderEnvVar, folder)
	serveMortise(t, folder)
	if err := pluggable.Discover(t.Context()); err != nil {
		t.Fatal(err)
	}
	lock.DefaultRegistry.Logger = silent()

	properties := map[string]map[string]string{
		"memory": {"store": "memory"},
		"redis":  {"store": "redis", "redisHost": servers.StartRedis(t).Addr},
	}
	for _, name := range all.Backends("memory").Names() {
		t.Run(name, func(t *testing.T) {
			config, err := conformance.NewTestConfig("lock.mortise", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			conformance.ConformanceTests(t, properties[name], newMortise(t), config)
		})
	}
}

// newMortise returns a store as daprd creates it. The suite initializes it.
func newMortise(t *testing.T) contriblock.Store {
	t.Helper()
	store, err := lock.DefaultRegistry.Create("lock.mortise", "v1", "conformance")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// serveMortise runs Mortise in the folder until the test ends.
func serveMortise(t *testing.T, folder string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		o := mortise.Options{Name: "mortise", Folder: folder, SocketMode: 0o600, DrainTimeout: time.Second}
		ended <- mortise.Run(ctx, o, all.Backends("memory"), silent())
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Lstat(filepath.Join(folder, "mortise.sock")); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no socket of Mortise after 5s")
		}
	}
}
