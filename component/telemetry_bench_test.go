package component

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/internal/telemetry"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores/all"
)

// BenchmarkTelemetry locks and unlocks through the socket with the memory store, whose
// calls are short, so that the share of telemetry in the cost is large.
func BenchmarkTelemetry(b *testing.B) {
	for _, row := range []struct {
		name string
		o    Options
	}{
		{"off", Options{}},
		{"metrics", Options{TCP: TCPOptions{MetricsAddress: "127.0.0.1:0"}}},
		{"metrics with lock events", Options{TCP: TCPOptions{MetricsAddress: "127.0.0.1:0", LockEventMetrics: true}}},
		{"traces", Options{Tracing: true}},
		{"both", Options{TCP: TCPOptions{MetricsAddress: "127.0.0.1:0"}, Tracing: true}},
	} {
		b.Run(row.name, func(b *testing.B) {
			collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			b.Cleanup(collector.Close)
			b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
			tel, err := row.o.newTelemetry(b.Context(), discard)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(tel.Tracing.Close)
			lockAndUnlock(b, lockspb.NewLocksClient(serveSocket(b, tel)))
		})
	}
}

// lockAndUnlock locks and unlocks in a loop.
func lockAndUnlock(b *testing.B, locks lockspb.LocksClient) {
	lock := &lockspb.TryLockRequest{Key: "key", Owner: "owner", Ttl: hour}
	unlock := &lockspb.UnlockRequest{Key: "key", Owner: "owner"}
	b.ReportAllocs()
	for b.Loop() {
		if m, err := locks.TryLock(b.Context(), lock); err != nil || !m.GetAcquired() {
			b.Fatal(m, err)
		}
		if _, err := locks.Unlock(b.Context(), unlock); err != nil {
			b.Fatal(err)
		}
	}
}

// serveSocket serves the memory store on a socket until the benchmark ends, and connects
// to it.
func serveSocket(b *testing.B, tel telemetry.Telemetry) *grpc.ClientConn {
	l, err := net.Listen("unix", filepath.Join(b.TempDir(), "s"))
	if err != nil {
		b.Fatal(err)
	}
	set := instances.New(all.Backends("memory"), discard, tel.Wrap)
	if err := set.Open(b.Context(), "locks", nil); err != nil {
		b.Fatal(err)
	}
	s := newServices(set, discard)
	s.telemetry = tel
	b.Cleanup(func() {
		s.close()
		if err := set.Close(); err != nil {
			b.Error(err)
		}
	})
	serveOn(b, socketServer(s), set.Listener(l))
	conn, err := grpc.NewClient("unix:"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return conn
}
