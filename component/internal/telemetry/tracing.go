package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/dapr/kit/logger"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/mortise-lock/mortise/stores"
)

// flushTimeout bounds how long the last spans are tried to be exported at the end.
const flushTimeout = 3 * time.Second

// Tracing makes spans of calls. All methods are safe for concurrent use; of nil they do
// nothing.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	log      logger.Logger
}

// WantsTracing tells whether the environment says where traces go, and not that there
// shall be none.
func TracingConfigured(getenv func(string) string) bool {
	return getenv("OTEL_EXPORTER_OTLP_ENDPOINT")+getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "" &&
		!strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") &&
		!strings.EqualFold(getenv("OTEL_TRACES_EXPORTER"), "none")
}

// NewTracing returns tracing for a process of the version. Where the spans go and how,
// which are sampled, and the names of what they come from is said by OpenTelemetry's
// environment variables, as to any program; errors of exporting go to the log.
func NewTracing(ctx context.Context, version string, getenv func(string) string, log logger.Logger) (*Tracing, error) {
	exporter, err := newExporter(ctx, getenv)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	origin, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "mortise"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tracing: %w", err), exporter.Shutdown(ctx))
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warnf("Tracing: %v", err) }))
	return newTracing(log, sdktrace.WithBatcher(exporter), sdktrace.WithResource(origin)), nil
}

// newExporter returns the exporter for the protocol that the environment names.
func newExporter(ctx context.Context, getenv func(string) string) (*otlptrace.Exporter, error) {
	protocol := getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	switch protocol {
	case "", "http/protobuf":
		return otlptracehttp.New(ctx)
	case "grpc":
		return otlptracegrpc.New(ctx)
	}
	return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q, known are http/protobuf and grpc", protocol)
}

func newTracing(log logger.Logger, options ...sdktrace.TracerProviderOption) *Tracing {
	provider := sdktrace.NewTracerProvider(options...)
	return &Tracing{provider, provider.Tracer("github.com/mortise-lock/mortise/component/internal/telemetry"), log}
}

// Close exports the last spans. That they get lost is no reason to fail.
func (t *Tracing) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warnf("Tracing: the last spans are lost: %v", err)
	}
}

// spans observes one store.
type storeSpans struct {
	tracer     trace.Tracer
	attributes trace.SpanStartEventOption
}

func (t *Tracing) forStore(component, store string) storeSpans {
	return storeSpans{t.tracer, trace.WithAttributes(
		attribute.String("mortise.component", component), attribute.String("mortise.store", store))}
}

// Begin implements [stores.Observer]. Only calls that belong to somebody's trace have
// spans; else those that the process makes by itself would bury them.
func (s storeSpans) Begin(ctx context.Context, op stores.Operation) (context.Context, func(stores.Outcome)) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, func(stores.Outcome) {}
	}
	ctx, span := s.tracer.Start(ctx, "store "+string(op), s.attributes,
		trace.WithAttributes(attribute.String("mortise.operation", string(op))))
	return ctx, func(outcome stores.Outcome) {
		span.SetAttributes(attribute.String("mortise.outcome", string(outcome)))
		if isStoreFailure(op, outcome) {
			setError(span, string(outcome))
		}
		span.End()
	}
}

// serve lets next serve a request within a span.
func (t *Tracing) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if t == nil {
		next.ServeHTTP(w, r)
		return
	}
	ctx, span := t.startHTTPSpan(r)
	defer span.End()
	status := &statusWriter{ResponseWriter: w, code: http.StatusOK}
	next.ServeHTTP(status, r.WithContext(ctx))
	endHTTPSpan(span, status.code)
}
