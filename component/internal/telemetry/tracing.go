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

// flushTimeout bounds the export of the last spans at shutdown.
const flushTimeout = 3 * time.Second

// Tracing exports spans of calls. All methods are safe for concurrent use. On a nil
// Tracing they do nothing.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	log      logger.Logger
}

// TracingConfigured reports whether OpenTelemetry's environment variables name an
// endpoint for traces and do not turn traces off.
func TracingConfigured(getenv func(string) string) bool {
	return getenv("OTEL_EXPORTER_OTLP_ENDPOINT")+getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "" &&
		!strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") &&
		!strings.EqualFold(getenv("OTEL_TRACES_EXPORTER"), "none")
}

// NewTracing returns a Tracing for a process of the given version. OpenTelemetry's
// environment variables set the exporter, the sampler and the resource attributes. Export
// errors are logged.
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
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warnf("Cannot export spans: %v", err) }))
	return newTracing(log, sdktrace.WithBatcher(exporter), sdktrace.WithResource(origin)), nil
}

// newExporter returns the exporter for the protocol in the environment.
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
	return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf or grpc, got %q", protocol)
}

func newTracing(log logger.Logger, options ...sdktrace.TracerProviderOption) *Tracing {
	provider := sdktrace.NewTracerProvider(options...)
	return &Tracing{provider, provider.Tracer("github.com/mortise-lock/mortise/component/internal/telemetry"), log}
}

// Close exports the last spans. It logs an error instead of returning it, because the
// loss of spans is no reason to fail.
func (t *Tracing) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warnf("Cannot export the last spans: %v", err)
	}
}

// storeSpans starts spans of the calls of one store. It is a [stores.Observer].
type storeSpans struct {
	tracer     trace.Tracer
	attributes trace.SpanStartEventOption
}

func (t *Tracing) forStore(component, store string) storeSpans {
	return storeSpans{t.tracer, trace.WithAttributes(
		attribute.String("mortise.component", component), attribute.String("mortise.store", store))}
}

// Begin implements [stores.Observer]. Only calls within a trace have spans. The process's
// own calls have none, because they would outnumber those of clients.
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

// serve calls next within the span of the request.
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
