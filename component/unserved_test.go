package component

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"
)

// These tests check the responses of each endpoint to calls that it does not serve, in a
// process that serves all endpoints, because servers that a test constructs for one API
// may have other options.

// servedMethods lists what each gRPC endpoint serves: services, or single methods of one.
var servedMethods = map[string][]string{
	"the socket": {
		"dapr.proto.components.v1.LockStore", "dapr.proto.components.v1.InputBinding", "dapr.proto.components.v1.OutputBinding",
		"mortise.locks.v1.Locks", "mortise.rtm.v1.ChannelLocks",
	},
	"--listen-address": {"mortise.locks.v1.Locks", "mortise.rtm.v1.ChannelLocks"},
	"--dapr-grpc-listen-address": {
		"dapr.proto.runtime.v1.Dapr/TryLockAlpha1", "dapr.proto.runtime.v1.Dapr/UnlockAlpha1", "dapr.proto.runtime.v1.Dapr/GetMetadata",
		"spec.proto.runtime.v1.Runtime/TryLock", "spec.proto.runtime.v1.Runtime/Unlock", "spec.proto.runtime.v1.Runtime/LockKeepAlive",
	},
}

// servedEverywhere lists the services of every gRPC endpoint.
var servedEverywhere = []string{
	"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
}

// layottoMethods are methods of Layotto's services in its .proto files.
var layottoMethods = strings.Fields(`
	spec.proto.runtime.v1.Runtime/SayHello spec.proto.runtime.v1.Runtime/InvokeService
	spec.proto.runtime.v1.Runtime/GetConfiguration spec.proto.runtime.v1.Runtime/SaveConfiguration
	spec.proto.runtime.v1.Runtime/DeleteConfiguration spec.proto.runtime.v1.Runtime/SubscribeConfiguration
	spec.proto.runtime.v1.Runtime/GetNextId spec.proto.runtime.v1.Runtime/GetState
	spec.proto.runtime.v1.Runtime/GetBulkState spec.proto.runtime.v1.Runtime/SaveState
	spec.proto.runtime.v1.Runtime/DeleteState spec.proto.runtime.v1.Runtime/DeleteBulkState
	spec.proto.runtime.v1.Runtime/ExecuteStateTransaction spec.proto.runtime.v1.Runtime/PublishEvent
	spec.proto.runtime.v1.Runtime/SubscribeTopicEvents spec.proto.runtime.v1.Runtime/GetFile
	spec.proto.runtime.v1.Runtime/PutFile spec.proto.runtime.v1.Runtime/ListFile
	spec.proto.runtime.v1.Runtime/DelFile spec.proto.runtime.v1.Runtime/GetFileMeta
	spec.proto.runtime.v1.Runtime/InvokeBinding spec.proto.runtime.v1.Runtime/GetSecret
	spec.proto.runtime.v1.Runtime/GetBulkSecret spec.proto.runtime.v1.Runtime/NoSuchMethod
	spec.proto.runtime.v1.Lifecycle/ApplyConfiguration spec.proto.runtime.v1.NoSuchService/TryLock
	spec.proto.extension.v1.s3.ObjectStorageService/PutObject spec.proto.extension.v1.cryption.CryptionService/Encrypt
	spec.proto.extension.v1.delay_queue.DelayQueue/PublishDelayMessage spec.proto.extension.v1.email.EmailService/SendEmail
	spec.proto.extension.v1.phone.PhoneCallService/SendVoiceWithTemplate spec.proto.extension.v1.sms.SmsService/SendSmsWithTemplate`)

// unknownMethods are methods that no API has.
var unknownMethods = strings.Fields(`
	dapr.proto.runtime.v1.Dapr/RenewLockAlpha1 dapr.proto.runtime.v1.NoSuchService/TryLockAlpha1
	dapr.proto.components.v1.LockStore/RenewLock mortise.locks.v1.Locks/NoSuchMethod mortise.rtm.v1.ChannelLocks/NoSuchMethod
	grpc.health.v1.Health/NoSuchMethod shop.Orders/List`)

// unservedMethods returns the methods that an endpoint does not serve, of those above and
// of all services that are linked into the program.
func unservedMethods(endpoint string) []string {
	methods := slices.Concat(layottoMethods, unknownMethods)
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				methods = append(methods, string(service.FullName())+"/"+string(service.Methods().Get(j).Name()))
			}
		}
		return true
	})
	isServed := func(method string) bool {
		service, _, _ := strings.Cut(method, "/")
		list := slices.Concat(servedMethods[endpoint], servedEverywhere)
		return !slices.Contains(unknownMethods, method) && (slices.Contains(list, service) || slices.Contains(list, method))
	}
	return slices.DeleteFunc(methods, isServed)
}

// wantStatus returns the code of an endpoint's response to a method that it does not
// serve, and a part of the message.
func wantStatus(endpoint, method string) (codes.Code, string) {
	service, name, _ := strings.Cut(method, "/")
	switch {
	case endpoint != "--dapr-grpc-listen-address":
		return codes.Unimplemented, "unknown "
	case strings.HasPrefix(method, "spec.proto."):
		return codes.Unimplemented, method + " is not implemented: of Layotto's API, only TryLock, Unlock, LockKeepAlive of " +
			"spec.proto.runtime.v1.Runtime are served"
	// daprd has the same message for both.
	case slices.Contains(unknownMethods, method) && service == "dapr.proto.runtime.v1.Dapr",
		strings.HasPrefix(service, "dapr.proto.runtime.") && service != "dapr.proto.runtime.v1.Dapr":
		return codes.Unknown, "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"
	case service == "dapr.proto.runtime.v1.Dapr":
		return codes.Unimplemented, "method " + name + " not implemented"
	}
	return codes.Unknown, "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"
}

// invoke calls a method with an empty message, as a stream, whose messages are those of
// every kind of call.
func invoke(ctx context.Context, conn *grpc.ClientConn, method string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+method)
	if err != nil {
		return err
	}
	_ = stream.SendMsg(&emptypb.Empty{}) // RecvMsg returns the error
	_ = stream.CloseSend()
	return stream.RecvMsg(&emptypb.Empty{})
}

// dialGRPCEndpoints connects to every gRPC endpoint of a process with every API. token is
// the token of TCP endpoints, or empty.
func dialGRPCEndpoints(t *testing.T, token string) map[string]*grpc.ClientConn {
	t.Helper()
	f := newFixture(t, func(o *Options) { o.TCP.Address, o.TCP.Token, o.TCP.Dapr.Token = freePort(t), token, token })
	return map[string]*grpc.ClientConn{
		"the socket":                 f.socket,
		"--listen-address":           dial(t, f.tcp.Address, insecure.NewCredentials()),
		"--dapr-grpc-listen-address": f.dapr,
	}
}

func TestUnserved_GRPC(t *testing.T) {
	for _, token := range []string{"", "secret"} {
		for endpoint, conn := range dialGRPCEndpoints(t, token) {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token, "dapr-api-token", token)
			methods := unservedMethods(endpoint)
			if len(methods) < 50 {
				t.Errorf("%s: only %d methods are unserved", endpoint, len(methods))
			}
			for _, method := range methods {
				code, text := wantStatus(endpoint, method)
				got := status.Convert(invoke(ctx, conn, method))
				if got.Code() != code || !strings.Contains(got.Message(), text) {
					t.Errorf("%s, token %q: %s: got %v %q, want %v %q", endpoint, token, method, got.Code(), got.Message(), code, text)
				}
			}
		}
	}
}

func TestServed_GRPC(t *testing.T) {
	for endpoint, conn := range dialGRPCEndpoints(t, "") {
		for _, method := range servedMethods[endpoint] {
			if !strings.Contains(method, "/") {
				continue
			}
			if err := invoke(t.Context(), conn, method); status.Code(err) == codes.Unimplemented || status.Code(err) == codes.Unknown {
				t.Errorf("%s: %s: %v", endpoint, method, err)
			}
		}
		for _, service := range slices.Concat(servedMethods[endpoint], servedEverywhere) {
			service, _, _ = strings.Cut(service, "/")
			if !slices.Contains(listServices(t, conn, "v1"), service) {
				t.Errorf("%s: reflection does not list %s", endpoint, service)
			}
		}
	}
}

func TestUnserved_LayottoSayHello(t *testing.T) {
	conn := dialGRPCEndpoints(t, "")["--dapr-grpc-listen-address"]
	err := conn.Invoke(t.Context(), "/spec.proto.runtime.v1.Runtime/SayHello", &emptypb.Empty{}, &emptypb.Empty{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v, want UNIMPLEMENTED", err)
	}
}

func TestUnserved_CallOfOtherApp(t *testing.T) {
	conn := dialGRPCEndpoints(t, "")["--dapr-grpc-listen-address"]
	for _, header := range []string{"dapr-app-id", "dapr-callee-app-id"} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), header, "shop")
		for method, want := range map[string]string{
			"shop.Orders/List":                       "this API is currently not implemented",
			"spec.proto.runtime.v1.Runtime/SayHello": "spec.proto.runtime.v1.Runtime/SayHello is not implemented: ",
		} {
			got := status.Convert(invoke(ctx, conn, method))
			if got.Code() != codes.Unimplemented || !strings.HasPrefix(got.Message(), want) {
				t.Errorf("%s with %s: got %v %q", method, header, got.Code(), got.Message())
			}
		}
	}
}

func TestUnserved_NeedsToken(t *testing.T) {
	conn := dialGRPCEndpoints(t, "secret")["--dapr-grpc-listen-address"]
	for _, method := range slices.Concat(layottoMethods, unknownMethods) {
		if err := invoke(t.Context(), conn, method); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestUnserved_HTTP(t *testing.T) {
	f := newFixture(t, func(*Options) {})
	client := &http.Client{Transport: transport(t)}
	for _, row := range []struct {
		endpoint, address, method, path string
		code                            int
		errorCode                       any // of the JSON body, if it is one
	}{
		{"--dapr-http-listen-address", f.tcp.Dapr.HTTPAddress, "GET", "/v1.0/state/locks/a", 501, "ERR_API_UNIMPLEMENTED"},
		{"--dapr-http-listen-address", f.tcp.Dapr.HTTPAddress, "POST", "/v1.0/publish/bus/topic", 501, "ERR_API_UNIMPLEMENTED"},
		{"--dapr-http-listen-address", f.tcp.Dapr.HTTPAddress, "POST", "/v1.0/bindings/locks", 501, "ERR_API_UNIMPLEMENTED"},
		{"--dapr-http-listen-address", f.tcp.Dapr.HTTPAddress, "PUT", "/v1.0-alpha1/lock/locks", 404, "ERR_DIRECT_INVOKE"},
		{"--dapr-http-listen-address", f.tcp.Dapr.HTTPAddress, "POST", "/v1.0/lock/locks", 404, "ERR_DIRECT_INVOKE"},
		{"--dapr-http-listen-address", f.tcp.Dapr.HTTPAddress, "POST", "/v1/rtm/locks/setLock", 404, "ERR_DIRECT_INVOKE"},
		{"--dapr-http-listen-address", f.tcp.Dapr.HTTPAddress, "GET", "/metrics", 404, "ERR_DIRECT_INVOKE"},
		{"--http-listen-address", f.tcp.HTTPAddress, "POST", "/v1/rtm/locks/stealLock", 404, -10014.0},
		{"--http-listen-address", f.tcp.HTTPAddress, "POST", "/v1.0-alpha1/lock/locks", 404, -10014.0},
		{"--http-listen-address", f.tcp.HTTPAddress, "GET", "/metrics", 404, -10014.0},
		{"--http-listen-address", f.tcp.HTTPAddress, "GET", "/v1/rtm/locks/setLock", 405, -10014.0},
		{"--metrics-address", f.tcp.MetricsAddress, "GET", "/v1/rtm/locks/setLock", 404, nil},
		{"--metrics-address", f.tcp.MetricsAddress, "POST", "/v1.0-alpha1/lock/locks", 404, nil},
		{"--metrics-address", f.tcp.MetricsAddress, "POST", "/metrics", 405, nil},
	} {
		r, err := http.NewRequestWithContext(t.Context(), row.method, "http://"+row.address+row.path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var body struct{ ErrorCode any }
		err = json.NewDecoder(response.Body).Decode(&body)
		if response.StatusCode != row.code || body.ErrorCode != row.errorCode || (err != nil) != (row.errorCode == nil) {
			t.Errorf("%s: %s %s: got %d, %v, %v; want %d, %v", row.endpoint, row.method, row.path,
				response.StatusCode, body.ErrorCode, err, row.code, row.errorCode)
		}
	}
}
