package pluggablelock

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc/metadata"
)

// traced returns a ctx whose calls tell the component which trace they belong to, if
// there is one: daprd itself does so in calls to apps, and not in those to components.
func withTraceContext(ctx context.Context) context.Context {
	headers := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, headers)
	for name, value := range headers {
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	return ctx
}
