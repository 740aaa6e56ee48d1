package telemetry

import (
	"context"
	"strings"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	layottopb "github.com/mortise-lock/mortise/proto/spec/proto/runtime/v1"
)

// The names of the APIs, as values of the metric label api and the span attribute
// mortise.api.
const (
	LockStore = "lockstore" // LockStore, for Mortise's daprd
	Locks     = "locks"     // Mortise's own service
	RTM       = "rtm"       // channel locks, over gRPC and HTTP
	Dapr      = "dapr"      // Dapr's API without a sidecar, over gRPC and HTTP
	Layotto   = "layotto"   // Layotto's API
	Binding   = "binding"   // Dapr's bindings
	Internal  = "internal"  // no API: the process's own calls, as renewals for RTM users
)

// apis maps gRPC services to APIs. Other services, which are health and reflection, call
// no store.
var apis = map[string]string{
	lockpb.LockStore_ServiceDesc.ServiceName:     LockStore,
	lockspb.Locks_ServiceDesc.ServiceName:        Locks,
	rtmpb.ChannelLocks_ServiceDesc.ServiceName:   RTM,
	runtimepb.Dapr_ServiceDesc.ServiceName:       Dapr,
	layottopb.Runtime_ServiceDesc.ServiceName:    Layotto,
	daprpb.InputBinding_ServiceDesc.ServiceName:  Binding,
	daprpb.OutputBinding_ServiceDesc.ServiceName: Binding,
}

// apiKey is the context key of the API.
type apiKey struct{}

// WithAPI returns a ctx that attributes calls of stores to the API. It returns ctx as it
// is if that has an API already: a call through a binding stays one, although the Locks
// service answers it.
func WithAPI(ctx context.Context, api string) context.Context {
	if apiFrom(ctx) != Internal {
		return ctx
	}
	return context.WithValue(ctx, apiKey{}, api)
}

// apiFrom returns the API of ctx, which is Internal if none was set.
func apiFrom(ctx context.Context) string {
	if api, ok := ctx.Value(apiKey{}).(string); ok {
		return api
	}
	return Internal
}

// splitMethod returns the service, the method and the API of a gRPC call. The API of a
// service that calls no store is empty.
func splitMethod(fullMethod string) (service, method, api string) {
	service, method, _ = strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	return service, method, apis[service]
}

// unary is the interceptor of unary calls.
func (o Telemetry) unary(ctx context.Context, req any, call *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	service, method, api := splitMethod(call.FullMethod)
	if api == "" {
		return handle(ctx, req)
	}
	ctx, end := o.Tracing.startSpan(WithAPI(ctx, api), service, method, req)
	resp, err := handle(ctx, req)
	end(err)
	return resp, err
}

// stream is the interceptor of streaming calls.
func (o Telemetry) stream(srv any, stream grpc.ServerStream, call *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	service, method, api := splitMethod(call.FullMethod)
	if api == "" {
		return handle(srv, stream)
	}
	ctx, end := o.Tracing.startSpan(WithAPI(stream.Context(), api), service, method, nil)
	err := handle(srv, &streamWithContext{stream, ctx})
	end(err)
	return err
}

// streamWithContext is a stream with another context.
type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *streamWithContext) Context() context.Context { return s.ctx }
