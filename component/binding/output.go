package binding

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// contentType is the type of all requests, answers and events.
const contentType = "application/json"

// call is an app's call of an operation.
type call struct {
	store string // the component whose store it uses
	user  string // of channel operations whose data name none; may be empty
	data  object
}

// operation runs a call and returns the answer to the app. Errors are gRPC statuses.
type operation func(ctx context.Context, c call) (answer []byte, err error)

// output is the service that runs operations for apps.
type output struct {
	daprpb.UnimplementedOutputBindingServer
	service *Service
}

// Init initializes the binding; see [Service.Open].
func (o *output) Init(ctx context.Context, m *daprpb.OutputBindingInitRequest) (*daprpb.OutputBindingInitResponse, error) {
	return &daprpb.OutputBindingInitResponse{}, o.service.init(ctx, m.GetMetadata())
}

// Ping returns an empty response.
func (o *output) Ping(context.Context, *daprpb.PingRequest) (*daprpb.PingResponse, error) {
	return &daprpb.PingResponse{}, nil
}

// ListOperations returns the names of the operations.
func (o *output) ListOperations(context.Context, *daprpb.ListOperationsRequest) (*daprpb.ListOperationsResponse, error) {
	return &daprpb.ListOperationsResponse{Operations: o.service.operationNames()}, nil
}

// Invoke runs an operation.
//
// A result that depends on a lock's state is an answer, even if it is a refusal. daprd
// turns every error into a status 500, repeats the call if its resiliency policies say
// so, and passes only the text on to the app. So only invalid calls and unreachable
// storages are errors. Their text begins with the reason that the services report to
// programs.
func (o *output) Invoke(ctx context.Context, m *daprpb.InvokeRequest) (*daprpb.InvokeResponse, error) {
	answer, err := o.service.invoke(ctx, m)
	if err != nil {
		return nil, withReason(err)
	}
	return &daprpb.InvokeResponse{Data: answer, ContentType: contentType}, nil
}

func (s *Service) invoke(ctx context.Context, m *daprpb.InvokeRequest) ([]byte, error) {
	b, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	run, ok := s.operations[m.GetOperation()]
	if !ok {
		names := strings.Join(s.operationNames(), ", ")
		return nil, rpcstatus.Field("operation", fmt.Sprintf("must be one of %s, got %q", names, m.GetOperation()))
	}
	data, err := parseObject(m.GetData())
	if err != nil {
		return nil, err
	}
	store, err := data.takeString("store")
	if err != nil {
		return nil, err
	}
	return run(ctx, call{
		store: cmp.Or(store, m.GetMetadata()["store"], b.store),
		user:  cmp.Or(m.GetMetadata()["user"], b.user),
		data:  data,
	})
}

func (s *Service) operationNames() []string { return slices.Sorted(maps.Keys(s.operations)) }

// channelOperations returns the operations of the ChannelLocks service. Their failures
// are answers in RTM's format, unless the state of the lock is unknown after them.
func (s *Service) channelOperations() map[string]operation {
	all := map[string]operation{}
	for _, name := range s.channels.Operations() {
		all[name] = func(ctx context.Context, c call) ([]byte, error) {
			c.data.setDefault("user", c.user)
			answer, err := s.channels.Invoke(ctx, c.store, name, c.data.text())
			if err != nil && isOutcomeUnknown(err) {
				return nil, err
			}
			return answer, nil
		}
	}
	return all
}

// isOutcomeUnknown reports whether the state of the lock is unknown after an error.
func isOutcomeUnknown(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.Unauthenticated, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition,
		codes.Aborted, codes.ResourceExhausted:
		return false
	}
	return true
}

// withReason adds the reason of a gRPC status to the start of its text, because daprd
// passes on only the text.
func withReason(err error) error {
	s := status.Convert(err).Proto()
	s.Message = reasonOf(status.FromProto(s)) + ": " + s.GetMessage()
	return status.ErrorProto(s)
}

// reasonOf returns the reason by which a program recognizes an error, after RTM's error
// code if it has one.
func reasonOf(s *status.Status) string {
	number, reason := "", ""
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = d.GetReason()
		case *errdetails.BadRequest:
			reason = "INVALID_ARGUMENT"
		case *rtmpb.Status:
			number = fmt.Sprintf("%d ", d.GetErrorCode())
		}
	}
	return number + cmp.Or(reason, s.Code().String())
}
