package component

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/internal/telemetry"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/test/servers"
)

// statusOf returns the health of a service on the socket.
func (f *fixture) statusOf(service string) string {
	f.Helper()
	resp, err := healthpb.NewHealthClient(f.socket).Check(f.Context(), &healthpb.HealthCheckRequest{Service: service})
	if status.Code(err) == codes.NotFound {
		return "NOT_FOUND"
	}
	return must(f, resp, err).GetStatus().String()
}

// awaitStatus waits until a service has the status.
func (f *fixture) awaitStatus(service, want string) {
	f.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for f.statusOf(service) != want {
		if time.Now().After(deadline) {
			f.Fatalf("%s is %s, want %s", service, f.statusOf(service), want)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// awaitMetric waits until the metrics contain the line.
func (f *fixture) awaitMetric(line string) {
	f.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for len(f.metrics(line+"\n")) == 0 {
		if time.Now().After(deadline) {
			f.Fatalf("the metrics do not contain %s", line)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// withResources returns a function that adds a resource file with the YAML to options.
func withResources(t *testing.T, yaml string) func(*Options) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "components.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(o *Options) { o.ResourcePaths = []string{file} }
}

func TestHealth_UnresponsiveStorage(t *testing.T) {
	t.Parallel()
	redis := servers.StartRedis(t)
	open := withResources(t, strings.Replace(componentHead, "name: locks", "name: shared", 1)+
		"  metadata:\n  - {name: store, value: redis}\n  - {name: redisHost, value: '"+redis.Addr+"'}\n")
	f := newFixture(t, func(o *Options) {
		open(o)
		o.TCP.LockEventMetrics = true
	})
	check := func(shared string, code int, body, up string) {
		t.Helper()
		f.awaitStatus("component/shared", shared)
		for _, service := range []string{"component/locks", "", "mortise.locks.v1.Locks", "dapr.proto.components.v1.LockStore"} {
			if got := f.statusOf(service); got != "SERVING" {
				t.Errorf("while shared is %s, %q is %s", shared, service, got)
			}
		}
		if got := f.scrape("/healthz", ""); got.code != code || strings.TrimSpace(got.body) != body {
			t.Errorf("while shared is %s, /healthz is %d, %s", shared, got.code, got.body)
		}
		if got := f.metrics("mortise_component_up"); strings.Join(got, "\n") !=
			"mortise_component_up{component=\"locks\"} 1\nmortise_component_up{component=\"shared\"} "+up {
			t.Errorf("while shared is %s: %q", shared, got)
		}
	}
	const held = `mortise_locks_held{component="shared",store="redis"} 1`
	check("SERVING", http.StatusNoContent, "", "1")
	m, err := lockspb.NewLocksClient(f.socket).TryLock(t.Context(), &lockspb.TryLockRequest{
		Store: "shared", Key: "k", Owner: "ann", Ttl: hour,
	})
	must(f, m, err)
	f.awaitMetric(held)
	resume := redis.Pause()
	check("NOT_SERVING", http.StatusServiceUnavailable, `{"failing":["shared"]}`, "0")
	resume()
	check("SERVING", http.StatusNoContent, "", "1")
	f.awaitMetric(held)
	if got := f.statusOf("component/other"); got != "NOT_FOUND" {
		t.Errorf("an unknown component is %s", got)
	}
	if err := f.end(t); err != nil {
		t.Error(err)
	}
}

func TestHealth_DaprAPIDuringShutdown(t *testing.T) {
	n, s := newMemoryServices(t, TCPOptions{})
	s.telemetry.Health = telemetry.NewHealth(discard)
	var err error
	if s.sidecarless, err = newSidecarlessAPIs(DaprOptions{HTTPAddress: "127.0.0.1:0"}, nil, s); err != nil {
		t.Fatal(err)
	}
	server := n.daprHTTPServer(s).(*httpServer)
	check := func(want int) {
		t.Helper()
		w := httptest.NewRecorder()
		server.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/v1.0/healthz", nil))
		if w.Code != want {
			t.Errorf("got %d %s, want %d", w.Code, w.Body, want)
		}
	}
	check(http.StatusNoContent)
	s.telemetry.Health.SetShuttingDown()
	check(http.StatusInternalServerError)
}

func TestHealth_ComponentOverTCP(t *testing.T) {
	f := newFixture(t, func(*Options) {})
	resp, err := healthpb.NewHealthClient(f.dapr).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "component/locks"})
	if err != nil || resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", resp, err)
	}
}
