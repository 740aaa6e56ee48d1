package component

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/mortise-lock/mortise/stores/all"
)

const (
	traceID     = "0af7651916cd43dd8448eb211c80319c"
	traceparent = "00-" + traceID + "-b7ad6b7169203331-01"
)

// collector is an OpenTelemetry collector.
type collector struct {
	tracepb.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []string // a line for each
	text  string   // everything that was exported
}

// Export receives spans over gRPC.
func (c *collector) Export(_ context.Context, m *tracepb.ExportTraceServiceRequest) (*tracepb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text += m.String()
	for _, origin := range m.GetResourceSpans() {
		names := map[string]string{}
		for _, a := range origin.GetResource().GetAttributes() {
			names[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, scope := range origin.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, fmt.Sprintf("%s %s: %s in %s",
					names["service.name"], names["service.version"], s.GetName(), hex.EncodeToString(s.GetTraceId())))
			}
		}
	}
	return &tracepb.ExportTraceServiceResponse{}, nil
}

// ServeHTTP receives spans over HTTP.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	m := &tracepb.ExportTraceServiceRequest{}
	if err == nil {
		err = proto.Unmarshal(body, m)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint(r.URL.Path, err), http.StatusBadRequest)
		return
	}
	_, _ = c.Export(r.Context(), m)
}

// exported returns the spans, sorted.
func (c *collector) exported() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(slices.Values(c.spans))
}

// serveHTTP and serveGRPC serve the collector until the test ends and return its URL.
func (c *collector) serveHTTP(t *testing.T) string {
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	return s.URL
}

func (c *collector) serveGRPC(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	tracepb.RegisterTraceServiceServer(s, c)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

func TestTracing_ContinuesClientTraces(t *testing.T) {
	for _, row := range []struct {
		name, protocol string
		serve          func(*collector, *testing.T) string
	}{
		{"over the default protocol", "", (*collector).serveHTTP},
		{"over HTTP", "http/protobuf", (*collector).serveHTTP},
		{"over gRPC", "grpc", (*collector).serveGRPC},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := &collector{}
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", row.serve(c, t))
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", row.protocol)
			f := newFixture(t, func(o *Options) { o.Tracing = true })
			f.withHeaders = func(ctx context.Context) context.Context {
				return metadata.AppendToOutgoingContext(ctx, "traceparent", traceparent)
			}
			f.useLocks()
			f.useDapr()
			if err := f.end(t); err != nil { // exports the last spans
				t.Fatal(err)
			}
			var continued, others []string
			for _, span := range c.exported() {
				if name, ok := strings.CutSuffix(span, " in "+traceID); ok {
					continued = append(continued, strings.TrimPrefix(name, "mortise v1.2.3: "))
				} else {
					others = append(others, span)
				}
			}
			want := []string{
				"dapr.proto.runtime.v1.Dapr/TryLockAlpha1", "dapr.proto.runtime.v1.Dapr/TryLockAlpha1",
				"mortise.locks.v1.Locks/TryLock", "mortise.locks.v1.Locks/TryLock", "mortise.locks.v1.Locks/Unlock",
				"store try_lock", "store try_lock", "store try_lock", "store try_lock", "store unlock",
			}
			if !slices.Equal(continued, want) {
				t.Errorf("continued %q, want %q", continued, want)
			}
			// The HTTP request has no trace: the others are its span and that of its
			// call.
			if len(others) != 2 {
				t.Errorf("other spans are %q", others)
			}
			if strings.Contains(c.text, `"ann"`) || strings.Contains(c.text, `"bob"`) {
				t.Errorf("an owner is exported: %s", c.text)
			}
		})
	}
}

func TestTracing_DaprHTTP(t *testing.T) {
	c := &collector{}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.serveHTTP(t))
	f := newFixture(t, func(o *Options) { o.Tracing, o.TCP.Dapr.Token = true, "open sesame" })
	for _, row := range []struct {
		path, token string
		code        int
	}{
		{"/v1.0/metadata", "", http.StatusUnauthorized},
		{"/v1.0/healthz", "", http.StatusNoContent},
		{"/v1.0/healthz/outbound", "open sesame", http.StatusNoContent},
		{"/v1.0/metadata", "open sesame", http.StatusOK},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+f.tcp.Dapr.HTTPAddress+row.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("dapr-api-token", row.token)
		if got := (httpTestClient{client: &http.Client{Transport: transport(t)}}).do(t, r); got.code != row.code {
			t.Errorf("%s: %d, want %d", row.path, got.code, row.code)
		}
	}
	if err := f.end(t); err != nil { // exports the last spans
		t.Fatal(err)
	}
	if got := c.exported(); len(got) != 1 || !strings.HasPrefix(got[0], "mortise v1.2.3: GET dapr in ") {
		t.Errorf("spans are %q", got)
	}
}

func TestTracing_UnreachableCollector(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+freePort(t))
	f := newFixture(t, func(o *Options) { o.Tracing = true })
	f.useLocks()
	start := time.Now()
	if err := f.end(t); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestTracing_UnknownProtocol(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
	o := Options{Folder: t.TempDir(), Tracing: true}
	_, err := startRun(t, o, all.Backends("memory"))
	if err == nil || !strings.Contains(err.Error(), `OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf or grpc, got "http/json"`) {
		t.Errorf("%v", err)
	}
}
