// Package inprocess runs a Mortise server in the process of a test, for the tests of
// packages that must not depend on the server.
package inprocess

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/component"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
	"github.com/mortise-lock/mortise/stores/redis"
	"github.com/mortise-lock/mortise/test/servers"
)

// Resource is the YAML of a Dapr component "lockstore" with the store memory.
const Resource = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: lockstore
spec:
  type: lock.mortise
  version: v1
  metadata:
    - name: store
      value: memory
`

// startTimeout bounds the time until the socket exists.
const startTimeout = 20 * time.Second

// Config describes a server.
type Config struct {
	Folder   string // of the socket, mortise.sock
	Resource string // YAML of the component; empty means Resource

	Address     string              // host:port of a TCP listener with mutual TLS, or ""
	Certificate servers.Certificate // of that listener and of its clients
	Token       string              // that TCP clients must send
}

// Start runs a server until the test ends or stop is called. It returns when the socket
// exists.
func Start(t testing.TB, c Config) (stop func()) {
	t.Helper()
	if c.Resource == "" {
		c.Resource = Resource
	}
	resource := filepath.Join(t.TempDir(), "lockstore.yaml")
	if err := os.WriteFile(resource, []byte(c.Resource), 0o600); err != nil {
		t.Fatal(err)
	}
	o := component.Options{
		Name: "mortise", Folder: c.Folder, SocketMode: 0o600, ResourcePaths: []string{resource},
		DrainTimeout: time.Second,
	}
	if c.Address != "" {
		o.TCP = component.TCPOptions{
			Address: c.Address, Token: c.Token,
			CertFile: c.Certificate.File, KeyFile: c.Certificate.KeyFile, ClientCAFile: c.Certificate.File,
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- component.Run(ctx, o, registry(), discardLog()) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	waitForSocket(t, filepath.Join(c.Folder, "mortise.sock"), ended)
	return stop
}

func registry() *stores.Registry {
	r := stores.NewRegistry("memory")
	r.Register("memory", memory.NewProcess().Backend())
	r.Register("redis", redis.Backend())
	return r
}

func discardLog() logger.Logger {
	log := logger.NewLogger("mortise-inprocess")
	log.SetOutput(io.Discard)
	return log
}

// waitForSocket returns when the file exists. It fails the test if the server ends first.
func waitForSocket(t testing.TB, path string, ended chan error) {
	t.Helper()
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the server ended: %v", err)
		default:
		}
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no socket %s after %v", path, startTimeout)
		}
	}
}
