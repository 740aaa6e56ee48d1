package pluggablelock

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc/metadata"
)

// withTraceContext returns a context whose calls carry the trace context of ctx, if there
// is one. daprd itself sends it in calls to apps, but not in calls to components.
func withTraceContext(ctx context.Context) context.Context {
	headers := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, headers)
	for name, value := range headers {
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	return ctx
}
