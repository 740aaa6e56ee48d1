package rtmhttp

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/mortise-lock/mortise/component/rtm"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// JSON is a service with the JSON of the HTTP API, for APIs whose requests are JSON
// objects.
type JSON struct{ rtmpb.ChannelLocksServer }

// Operations returns the names of the operations that have one answer.
func (j JSON) Operations() []string {
	var names []string
	for _, method := range rtmpb.ChannelLocks_ServiceDesc.Methods {
		names = append(names, operationOf(method))
	}
	return names
}

// operationOf returns setLock for the method SetLock.
func operationOf(method grpc.MethodDesc) string {
	return strings.ToLower(method.MethodName[:1]) + method.MethodName[1:]
}

// Invoke runs an operation with the component's store. The request is an object with the
// operation's fields except store. If the operation fails, Invoke returns both an answer,
// which is a Status, and an error, which is a gRPC status.
func (j JSON) Invoke(ctx context.Context, store, operation string, request []byte) (answer []byte, err error) {
	methods := rtmpb.ChannelLocks_ServiceDesc.Methods
	at := slices.IndexFunc(methods, func(method grpc.MethodDesc) bool { return operationOf(method) == operation })
	if at < 0 {
		return nil, fmt.Errorf("rtm: no operation %q", operation)
	}
	name := httpOperations[operation].name
	response, err := methods[at].Handler(j.ChannelLocksServer, ctx, func(m any) error {
		return rtm.StatusError(name, readObject(m.(proto.Message).ProtoReflect(), store, request))
	}, nil)
	if err != nil {
		_, status := newStatusAnswer(name, err)
		return marshal(status), err
	}
	return marshal(newAnswer(response)), nil
}

// readObject sets the message's fields to the members of the object.
func readObject(m protoreflect.Message, store string, object []byte) error {
	members, err := objectMembers("data", object)
	if err != nil {
		return err
	}
	m.Set(m.Descriptor().Fields().ByName(storeField), protoreflect.ValueOfString(store))
	return setFields(m, "", members)
}

// newAnswer returns the response in the form of the HTTP API.
func newAnswer(response any) any {
	switch m := response.(type) {
	case *rtmpb.LockResponse:
		return newLockAnswer(m)
	case *rtmpb.GetLockResponse:
		return newListAnswer(m)
	case *rtmpb.KeepAliveResponse:
		return newKeepAliveAnswer(m)
	case *rtmpb.LogoutResponse:
		return newLogoutAnswer(m)
	}
	return response
}

// Event returns an event of Subscribe or Session as JSON.
func (j JSON) Event(m *rtmpb.LockEvent) []byte { return marshal(newEvent(m)) }
