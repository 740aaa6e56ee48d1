package pluggablelock

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	contriblock "github.com/dapr/components-contrib/lock"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
)

func TestCall_TraceContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var received []string
		c := &component{onTryLock: func(ctx context.Context, _ *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
			received = metadata.ValueFromIncomingContext(ctx, "traceparent")
			return &lockpb.TryLockResponse{Success: true}, nil
		}}
		s := newStore(t, run(t, c))
		if err := s.InitLockStore(t.Context(), named("orders", nil)); err != nil {
			t.Fatal(err)
		}
		span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
		for _, row := range []struct {
			ctx  context.Context
			want []string
		}{
			{t.Context(), nil},
			{trace.ContextWithSpanContext(t.Context(), span), []string{"00-01000000000000000000000000000000-0200000000000000-01"}},
		} {
			if _, err := s.TryLock(row.ctx, &contriblock.TryLockRequest{ResourceID: "r", LockOwner: "o", ExpiryInSeconds: 1}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(received, row.want) {
				t.Errorf("received %q, want %q", received, row.want)
			}
		}
	})
}
