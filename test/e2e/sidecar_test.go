// A daprd process, and the two APIs that an app calls.
package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"

	dapr "github.com/dapr/go-sdk/client"
)

// sidecar is a daprd.
type sidecar struct {
	*process
	program            *program            // which daprd
	flags              []string            // in addition to those of every sidecar
	runAs              *syscall.Credential // nil: the user of the test
	app                string
	folder             string   // its sockets folder
	env                []string // in addition to the variable with that folder
	resources          resources
	httpAddr, grpcAddr string
	sdk                api // the Go SDK
	http               httpAPI
}

// startSidecar starts daprd for an app and waits until it serves.
func startSidecar(t testing.TB, m *mortise, app string, r resources) *sidecar {
	t.Helper()
	return startSidecarIn(t, m.folder, app, r)
}

// startSidecarIn is startSidecar for a sockets folder that may have no Mortise.
func startSidecarIn(t testing.TB, folder, app string, r resources) *sidecar {
	t.Helper()
	s := launchSidecar(t, folder, app, r)
	s.awaitReady(t)
	return s
}

// launchSidecar starts daprd without waiting until it serves.
func launchSidecar(t testing.TB, folder, app string, r resources) *sidecar {
	t.Helper()
	s := &sidecar{program: &daprdProgram, app: app, folder: folder, resources: r}
	s.launch(t)
	return s
}

func (s *sidecar) launch(t testing.TB) {
	t.Helper()
	httpPort, grpcPort, internalPort := freePort(t), freePort(t), freePort(t)
	s.httpAddr, s.grpcAddr = "127.0.0.1:"+httpPort, "127.0.0.1:"+grpcPort
	s.process = startAs(t, s.runAs, "daprd of "+s.app, s.program.path, append(inFolder(s.folder), s.env...), append([]string{
		"--app-id", s.app,
		"--resources-path", s.resources.path,
		"--dapr-listen-addresses", "127.0.0.1",
		"--dapr-http-port", httpPort,
		"--dapr-grpc-port", grpcPort,
		"--dapr-internal-grpc-listen-address", "127.0.0.1",
		"--dapr-internal-grpc-port", internalPort,
		"--enable-metrics=false",
	}, s.flags...)...)
}

// awaitReady waits until daprd serves, and opens its APIs.
func (s *sidecar) awaitReady(t testing.TB) {
	t.Helper()
	eventually(t, "daprd of "+s.app+" serves", func() error {
		if s.hasEnded() && s.line("address already in use") != "" {
			s.launch(t) // another process took a port after freePort returned it
		}
		if s.hasEnded() {
			t.Fatalf("daprd of %s ended: %v", s.app, s.err)
		}
		return s.ready()
	})
	client, err := dapr.NewClientWithAddressContext(t.Context(), s.grpcAddr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s.sdk, s.http = sdkAPI{client}, httpAPI{"http://" + s.httpAddr}
}

// ready returns an error unless daprd reports that it is healthy.
func (s *sidecar) ready() error {
	resp, err := httpClient.Get("http://" + s.httpAddr + "/v1.0/healthz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("health is %s", resp.Status)
	}
	return nil
}

// apis returns the sidecar's APIs by name.
func (s *sidecar) apis() map[string]api {
	return map[string]api{"the Go SDK": s.sdk, "HTTP": s.http}
}

// user returns a user of a store, through the SDK.
func (s *sidecar) user(t testing.TB, store string) user {
	return user{t: t, api: s.sdk, store: store}
}

// freePort returns a port of the loopback interface that was free when it was checked.
func freePort(t testing.TB) string {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
