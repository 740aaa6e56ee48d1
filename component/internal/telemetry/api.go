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

// The APIs of the process.
const (
	LockStore = "lockstore" // LockStore, for our daprd
	Locks     = "locks"     // Mortise's own service
	RTM       = "rtm"       // channel locks, over gRPC and HTTP
	Dapr      = "dapr"      // Dapr's API without a sidecar, over gRPC and HTTP
	Layotto   = "layotto"   // Layotto's API
	Binding   = "binding"   // Dapr's bindings
	Internal  = "internal"  // none: what the process does by itself, as renewing the locks of RTM's users who are online
)

// APIs are the APIs by their gRPC services. Calls of other services, those for health and
// reflection, reach no store.
var apis = map[string]string{
	lockpb.LockStore_ServiceDesc.ServiceName:     LockStore,
	lockspb.Locks_ServiceDesc.ServiceName:        Locks,
	rtmpb.ChannelLocks_ServiceDesc.ServiceName:   RTM,
	runtimepb.Dapr_ServiceDesc.ServiceName:       Dapr,
	layottopb.Runtime_ServiceDesc.ServiceName:    Layotto,
	daprpb.InputBinding_ServiceDesc.ServiceName:  Binding,
	daprpb.OutputBinding_ServiceDesc.ServiceName: Binding,
}

// apiKey is the key of a ctx's API.
type apiKey struct{}

// WithAPI returns a ctx for what is asked for through the API. A call that has come in by
// an API and is answered by another's service, as a binding's are, stays with the one it
// has come in by.
func WithAPI(ctx context.Context, api string) context.Context {
	if apiFrom(ctx) != Internal {
		return ctx
	}
	return context.WithValue(ctx, apiKey{}, api)
}

// apiFrom is the API that the ctx has come through.
func apiFrom(ctx context.Context) string {
	if api, ok := ctx.Value(apiKey{}).(string); ok {
		return api
	}
	return Internal
}

// service is the service and the method of a gRPC call, and the API that they are.
func splitMethod(fullMethod string) (name, method, api string) {
	name, method, _ = strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	return name, method, apis[name]
}

// unary observes a gRPC call.
func (o Telemetry) unary(ctx context.Context, req any, call *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	name, method, api := splitMethod(call.FullMethod)
	if api == "" {
		return handle(ctx, req)
	}
	ctx, end := o.Tracing.startSpan(WithAPI(ctx, api), name, method, req)
	answer, err := handle(ctx, req)
	end(err)
	return answer, err
}

// stream observes a gRPC call that streams.
func (o Telemetry) stream(srv any, stream grpc.ServerStream, call *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	name, method, api := splitMethod(call.FullMethod)
	if api == "" {
		return handle(srv, stream)
	}
	ctx, end := o.Tracing.startSpan(WithAPI(stream.Context(), api), name, method, nil)
	err := handle(srv, &streamWithContext{stream, ctx})
	end(err)
	return err
}

// streamWithin is a stream with a ctx of its own.
type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *streamWithContext) Context() context.Context { return s.ctx }
