package telemetry

import (
	"context"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// w3c extracts the parent span from the headers of a request.
var w3c propagation.TraceContext

// metadataCarrier is the metadata of a gRPC call as a [propagation.TextMapCarrier].
type metadataCarrier metadata.MD

// Get implements [propagation.TextMapCarrier].
func (h metadataCarrier) Get(key string) string {
	if values := metadata.MD(h).Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Set implements [propagation.TextMapCarrier].
func (h metadataCarrier) Set(key, value string) { metadata.MD(h).Set(key, value) }

// Keys implements [propagation.TextMapCarrier].
func (h metadataCarrier) Keys() []string {
	keys := make([]string, 0, len(h))
	for key := range h {
		keys = append(keys, key)
	}
	return keys
}

// startSpan starts the span of a gRPC call. It continues the trace in the call's headers
// or, if there is none, the one in the request's metadata, which is how daprd sends it to
// a binding.
func (t *Tracing) startSpan(ctx context.Context, service, method string, req any) (context.Context, func(error)) {
	if t == nil {
		return ctx, func(error) {}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	ctx = w3c.Extract(ctx, metadataCarrier(md))
	if carrier, ok := req.(interface{ GetMetadata() map[string]string }); ok && !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = w3c.Extract(ctx, propagation.MapCarrier(carrier.GetMetadata()))
	}
	ctx, span := t.tracer.Start(ctx, service+"/"+method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("rpc.system", "grpc"), attribute.String("rpc.service", service), attribute.String("rpc.method", method),
		attribute.String("mortise.api", apiFrom(ctx))))
	return ctx, func(err error) {
		code := status.Code(err)
		span.SetAttributes(attribute.Int("rpc.grpc.status_code", int(code)))
		if slices.Contains(serverErrors, code) {
			setError(span, code.String())
		}
		span.End()
	}
}

// serverErrors are the codes of errors of the server, as OpenTelemetry defines them.
var serverErrors = []codes.Code{
	codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss,
}

// knownMethods are the methods that OpenTelemetry allows in span names. Clients may send
// any other text.
var knownMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodConnect,
	http.MethodOptions, http.MethodTrace,
}

// startHTTPSpan starts the span of a request, which continues the trace in its headers.
// The span has the request's path, which names a component and an operation. Keys and
// owners are in the query or in the body, which the span does not have.
func (t *Tracing) startHTTPSpan(r *http.Request) (context.Context, trace.Span) {
	ctx := w3c.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	api := apiFrom(ctx)
	name, method := r.Method, r.Method
	if !slices.Contains(knownMethods, r.Method) {
		name, method = "HTTP", "_OTHER"
	}
	return t.tracer.Start(ctx, name+" "+api, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", method), attribute.String("url.path", r.URL.Path),
		attribute.String("mortise.api", api)))
}

// endHTTPSpan sets the status of the response.
func endHTTPSpan(span trace.Span, code int) {
	span.SetAttributes(attribute.Int("http.response.status_code", code))
	if code >= http.StatusInternalServerError {
		setError(span, http.StatusText(code))
	}
}

func setError(span trace.Span, reason string) { span.SetStatus(otelcodes.Error, reason) }

// statusWriter records the status of a response. An [http.ResponseController] finds the
// other abilities of the ResponseWriter through Unwrap.
type statusWriter struct {
	http.ResponseWriter
	code int
}

func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap implements what [http.ResponseController] looks for.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
