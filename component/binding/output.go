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

// contentType is that of all requests, answers and events.
const contentType = "application/json"

// call is what an app asks of an operation.
type call struct {
	store string // the component whose store is meant
	user  string // whose a call on a channel is that names none; may be empty
	data  object
}

// operation runs a call and returns what the app is answered. Errors are gRPC statuses.
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

// Ping answers.
func (o *output) Ping(context.Context, *daprpb.PingRequest) (*daprpb.PingResponse, error) {
	return &daprpb.PingResponse{}, nil
}

// ListOperations names the operations.
func (o *output) ListOperations(context.Context, *daprpb.ListOperationsRequest) (*daprpb.ListOperationsResponse, error) {
	return &daprpb.ListOperationsResponse{Operations: o.service.operationNames()}, nil
}

// Invoke runs an operation.
//
// What is decided by a lock's state is an answer, refusals too. daprd makes an error of
// the kind of 500 out of every error, repeats the call if its resiliency policies say so,
// and gives the app no more than the text; so errors are for calls that make no sense and
// for storages that are away, and their text begins with the reason that the services
// have for programs.
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
		known := strings.Join(s.operationNames(), ", ")
		return nil, rpcstatus.Field("operation", fmt.Sprintf("%q is unknown, known are %s", m.GetOperation(), known))
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

// channelOperations are the operations of the ChannelLocks service. Its failures are
// answers too, as its protocol has them, unless nothing is known of what has become of
// the lock.
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

// isTrouble tells an error that says nothing of the lock from one that does.
func isOutcomeUnknown(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.Unauthenticated, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition,
		codes.Aborted, codes.ResourceExhausted:
		return false
	}
	return true
}

// withReason puts the reason of a gRPC status before its text, which is all that daprd
// passes on.
func withReason(err error) error {
	s := status.Convert(err).Proto()
	s.Message = reasonOf(status.FromProto(s)) + ": " + s.GetMessage()
	return status.ErrorProto(s)
}

// reasonOf is what a program can tell an error by: its reason, behind RTM's number if it
// has one.
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
