package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	otelcodes "go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/stores"
)

const (
	traceID     = "0af7651916cd43dd8448eb211c80319c"
	parentID    = "b7ad6b7169203331"
	traceparent = "00-" + traceID + "-" + parentID + "-01"

	lockAll       = "/mortise.locks.v1.Locks/LockAll"
	watch         = "/mortise.locks.v1.Locks/Watch"
	invoke        = "/dapr.proto.components.v1.OutputBinding/Invoke"
	check         = "/grpc.health.v1.Health/Check"
	unknownMethod = "/other.Service/Method"
)

// newTracedTelemetry returns a Telemetry with traces only, and its exporter.
func newTracedTelemetry(t *testing.T) (Telemetry, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	o := Telemetry{Tracing: newTracing(quiet, sdktrace.WithSyncer(spans))}
	t.Cleanup(o.Tracing.Close)
	return o, spans
}

// incoming returns the ctx of a gRPC call with the headers.
func incoming(t *testing.T, headers ...string) context.Context {
	return metadata.NewIncomingContext(t.Context(), metadata.Pairs(headers...))
}

// call makes a gRPC call that handle answers, through the interceptor.
func call(ctx context.Context, o Telemetry, method string, req any, handle func(context.Context) error) error {
	_, err := o.unary(ctx, req, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
		return nil, handle(ctx)
	})
	return err
}

// stream is a gRPC stream that only has a context.
type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stream) Context() context.Context { return s.ctx }

// callStream is call for a streaming method.
func callStream(ctx context.Context, o Telemetry, method string, handle func(context.Context) error) error {
	return o.stream(nil, stream{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: method}, func(_ any, s grpc.ServerStream) error {
		return handle(s.Context())
	})
}

// describe returns a line about a span.
func describe(s tracetest.SpanStub) string {
	line := fmt.Sprintf("%s %s parent=%s", s.Name, s.SpanKind, s.Parent.SpanID())
	for _, a := range s.Attributes {
		line += fmt.Sprintf(" %s=%s", a.Key, a.Value.String())
	}
	if s.Status.Code != otelcodes.Unset {
		line += fmt.Sprintf(" %s: %s", s.Status.Code, s.Status.Description)
	}
	return line
}

func TestTracing_GRPCCall(t *testing.T) {
	const attributes = " rpc.system=grpc rpc.service=mortise.locks.v1.Locks rpc.method=LockAll mortise.api=locks" +
		" rpc.grpc.status_code=0"
	request := &daprpb.InvokeRequest{Metadata: map[string]string{"traceparent": traceparent, "key": secret}}
	noParent := trace.SpanID{}.String()
	for _, row := range []struct {
		name    string
		headers []string
		req     any
		method  string
		parent  string
		want    string
	}{
		{"trace in the headers", []string{"traceparent", traceparent}, nil, lockAll, parentID,
			"mortise.locks.v1.Locks/LockAll server parent=" + parentID + attributes},
		{"trace in the metadata of a binding", nil, request, invoke, parentID,
			"dapr.proto.components.v1.OutputBinding/Invoke server parent=" + parentID + " rpc.system=grpc" +
				" rpc.service=dapr.proto.components.v1.OutputBinding rpc.method=Invoke mortise.api=binding rpc.grpc.status_code=0"},
		{"no trace", nil, nil, lockAll, noParent,
			"mortise.locks.v1.Locks/LockAll server parent=" + noParent + attributes},
		{"invalid trace", []string{"traceparent", "00-x-y-01"}, nil, lockAll, noParent,
			"mortise.locks.v1.Locks/LockAll server parent=" + noParent + attributes},
	} {
		t.Run(row.name, func(t *testing.T) {
			o, spans := newTracedTelemetry(t)
			if err := call(incoming(t, row.headers...), o, row.method, row.req, func(context.Context) error { return nil }); err != nil {
				t.Fatal(err)
			}
			got := spans.GetSpans()
			if len(got) != 1 || describe(got[0]) != row.want {
				t.Fatalf("spans are %v, want %s", got, row.want)
			}
			if continued := got[0].SpanContext.TraceID().String() == traceID; continued != (row.parent == parentID) {
				t.Errorf("the trace ID is %s", got[0].SpanContext.TraceID())
			}
		})
	}
}

func TestTracing_GRPCStream(t *testing.T) {
	o, spans := newTracedTelemetry(t)
	err := callStream(incoming(t, "traceparent", traceparent), o, watch, func(ctx context.Context) error {
		if got := trace.SpanContextFromContext(ctx).TraceID().String(); got != traceID || apiFrom(ctx) != Locks {
			t.Errorf("the handler has trace %s and API %s", got, apiFrom(ctx))
		}
		return status.Error(codes.Unavailable, secret)
	})
	if status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
	got := spans.GetSpans()
	if len(got) != 1 || !strings.HasSuffix(describe(got[0]), " rpc.grpc.status_code=14 Error: Unavailable") {
		t.Errorf("spans are %v", got)
	}
}

func TestTracing_ErrorStatus(t *testing.T) {
	for code, bad := range map[codes.Code]bool{
		codes.OK: false, codes.FailedPrecondition: false, codes.Canceled: false, codes.InvalidArgument: false,
		codes.Internal: true, codes.Unavailable: true, codes.DeadlineExceeded: true, codes.Unknown: true,
	} {
		o, spans := newTracedTelemetry(t)
		_ = call(t.Context(), o, lockAll, nil, func(context.Context) error { return status.Error(code, "") })
		if got := spans.GetSpans(); len(got) != 1 || (got[0].Status.Code == otelcodes.Error) != bad {
			t.Errorf("%v: %v", code, got)
		}
	}
}

func TestTracing_OtherServices(t *testing.T) {
	for _, method := range []string{check, unknownMethod} {
		o, spans := newTracedTelemetry(t)
		handle := func(ctx context.Context) error {
			if trace.SpanContextFromContext(ctx).IsValid() || apiFrom(ctx) != Internal {
				t.Errorf("%s: the handler has a span, or API %s", method, apiFrom(ctx))
			}
			return errDown
		}
		ctx := incoming(t, "traceparent", traceparent)
		if err := call(ctx, o, method, nil, handle); !errors.Is(err, errDown) {
			t.Errorf("%s: %v", method, err)
		}
		if err := callStream(ctx, o, method, handle); !errors.Is(err, errDown) {
			t.Errorf("%s: %v", method, err)
		}
		if got := spans.GetSpans(); len(got) != 0 {
			t.Errorf("%s: %v", method, got)
		}
	}
}

func TestTracing_StoreSpans(t *testing.T) {
	o, spans := newTracedTelemetry(t)
	s := wrap(t, o, "c", openMemory(t))
	err := call(incoming(t, "traceparent", traceparent), o, lockAll, nil, func(ctx context.Context) error {
		lock(ctx, t, s, secret, time.Minute)
		if err := s.Unlock(ctx, secret, "bob"); !errors.Is(err, stores.ErrNotOwner) {
			t.Error(err)
		}
		_, err := stores.TryLock(ctx, stores.Observe(&brokenStore{}, o.Tracing.forStore("d", "broken")), stores.Request{Key: secret})
		return err
	})
	if !errors.Is(err, errDown) {
		t.Fatal(err)
	}
	got := spans.GetSpans()
	if len(got) != 4 {
		t.Fatalf("spans are %v", got)
	}
	parent := " internal parent=" + got[3].SpanContext.SpanID().String()
	for i, want := range []string{
		"store try_lock" + parent + " mortise.component=c mortise.store=memory mortise.operation=try_lock mortise.outcome=granted",
		"store unlock" + parent + " mortise.component=c mortise.store=memory mortise.operation=unlock mortise.outcome=not_owner",
		"store try_lock" + parent + " mortise.component=d mortise.store=broken mortise.operation=try_lock" +
			" mortise.outcome=error Error: error",
	} {
		if line := describe(got[i]); line != want {
			t.Errorf("span is %s, want %s", line, want)
		}
	}
	for _, span := range got {
		if strings.Contains(fmt.Sprintf("%+v", span), secret) {
			t.Errorf("a span has a key: %+v", span)
		}
	}
}

// brokenStore is a store whose storage is down.
type brokenStore struct{ stores.Store }

func (brokenStore) TryLock(_ context.Context, req stores.Request) (stores.Grant, error) {
	return stores.Grant{}, fmt.Errorf("broken: lock %q: %w", req.Key, errDown)
}

func TestTracing_InternalCalls(t *testing.T) {
	o, spans := newTracedTelemetry(t)
	s := wrap(t, o, "c", openMemory(t))
	lock(t.Context(), t, s, "k", time.Minute)
	if got := spans.GetSpans(); len(got) != 0 {
		t.Errorf("spans are %v", got)
	}
}

func TestTracing_HTTPRequest(t *testing.T) {
	for code, bad := range map[int]string{
		http.StatusOK: "", http.StatusNoContent: "", http.StatusConflict: "",
		http.StatusServiceUnavailable: " Error: Service Unavailable",
	} {
		o, spans := newTracedTelemetry(t)
		handler := o.Handler(RTM, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if got := trace.SpanContextFromContext(r.Context()).TraceID().String(); got != traceID || apiFrom(r.Context()) != RTM {
				t.Errorf("the handler has trace %s and API %s", got, apiFrom(r.Context()))
			}
			if code != http.StatusOK { // which is implied
				w.WriteHeader(code)
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Errorf("flush: %v", err)
			}
		}))
		r := httptest.NewRequest(http.MethodPost, "/v1/rtm/c/setLock?lockName="+secret, strings.NewReader(secret))
		r.Header.Set("traceparent", traceparent)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		got := spans.GetSpans()
		want := fmt.Sprintf("POST rtm server parent=%s http.request.method=POST url.path=/v1/rtm/c/setLock mortise.api=rtm"+
			" http.response.status_code=%d%s", parentID, code, bad)
		if len(got) != 1 || describe(got[0]) != want || w.Code != code || !w.Flushed {
			t.Errorf("status %d, spans are %v, want %s", w.Code, got, want)
		}
	}
}

func TestTracing_UnknownHTTPMethod(t *testing.T) {
	o, spans := newTracedTelemetry(t)
	handler := o.Handler(Dapr, http.NotFoundHandler())
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(strings.ToUpper(secret), "/v1.0/metadata", nil))
	got := spans.GetSpans()
	want := fmt.Sprintf("HTTP dapr server parent=%s http.request.method=_OTHER url.path=/v1.0/metadata mortise.api=dapr"+
		" http.response.status_code=404", trace.SpanID{})
	if len(got) != 1 || describe(got[0]) != want {
		t.Errorf("spans are %v, want %s", got, want)
	}
}

func TestTelemetry_MetricsOnly(t *testing.T) {
	o := Telemetry{Metrics: NewMetrics("v1", NewHealth(quiet))}
	handle := func(ctx context.Context) error {
		if trace.SpanContextFromContext(ctx).IsValid() || apiFrom(ctx) != Locks {
			t.Errorf("the handler has a span, or API %s", apiFrom(ctx))
		}
		return nil
	}
	if err := call(incoming(t, "traceparent", traceparent), o, lockAll, nil, handle); err != nil {
		t.Error(err)
	}
	w, served := httptest.NewRecorder(), false
	o.Handler(Dapr, http.HandlerFunc(func(got http.ResponseWriter, r *http.Request) {
		served = apiFrom(r.Context()) == Dapr && got == http.ResponseWriter(w)
	})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if !served {
		t.Error("the handler does not get the original ResponseWriter and the API")
	}
}

func TestWithAPI(t *testing.T) {
	if api := apiFrom(t.Context()); api != Internal {
		t.Errorf("without an API: %s", api)
	}
	ctx := WithAPI(WithAPI(t.Context(), Binding), Locks)
	if api := apiFrom(ctx); api != Binding {
		t.Errorf("after WithAPI of another API: %s", api)
	}
}

func TestTracingConfigured(t *testing.T) {
	for _, row := range []struct {
		environment map[string]string
		want        bool
	}{
		{nil, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318"}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "otlp"}, true},
	} {
		if got := TracingConfigured(func(name string) string { return row.environment[name] }); got != row.want {
			t.Errorf("%v: %v", row.environment, got)
		}
	}
}
