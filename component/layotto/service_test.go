package layotto

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/mortise-lock/mortise/component/instances"
	layottopb "github.com/mortise-lock/mortise/proto/spec/proto/runtime/v1"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/all"
)

// opened returns a set with a memory store for each prefix, which is closed at the end of
// the test.
func opened(t *testing.T, prefixes map[string]string) *instances.Set {
	t.Helper()
	set := instances.New(all.Backends("memory"), logger.NewLogger("test"))
	for name := range prefixes {
		if err := set.Open(t.Context(), name, nil); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = set.Close() })
	return set
}

// dial serves the options and returns a connection.
func dial(t *testing.T, o Options) *grpc.ClientConn {
	t.Helper()
	service, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, server := bufconn.Listen(1<<16), grpc.NewServer()
	layottopb.RegisterRuntimeServer(server, service)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///layotto", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return conn
}

// client is one of an app whose components have the prefixes.
func client(t *testing.T, appID string, prefixes map[string]string, s Stores) layottopb.RuntimeClient {
	t.Helper()
	return layottopb.NewRuntimeClient(dial(t, Options{AppID: appID, KeyPrefixes: prefixes, Stores: s}))
}

// one is a component whose keys are of the app.
var one = map[string]string{"redis": ""}

// sdk calls as Layotto's SDKs do, on the store "redis" and the resource "order_id_111".
type sdk struct {
	*testing.T
	layottopb.RuntimeClient
}

func (c sdk) tryLock(owner string, want bool) {
	c.Helper()
	resp, err := c.TryLock(c.Context(),
		&layottopb.TryLockRequest{StoreName: "redis", ResourceId: "order_id_111", LockOwner: owner, Expire: 10})
	if err != nil || resp.GetSuccess() != want {
		c.Fatalf("TryLock by %s: %v, %v", owner, resp, err)
	}
}

func (c sdk) unlock(owner string, want layottopb.UnlockResponse_Status) {
	c.Helper()
	resp, err := c.Unlock(c.Context(), &layottopb.UnlockRequest{StoreName: "redis", ResourceId: "order_id_111", LockOwner: owner})
	if err != nil || resp.GetStatus() != want {
		c.Fatalf("Unlock by %s: %v, %v", owner, resp, err)
	}
}

func (c sdk) keepAlive(owner string, seconds int32, want layottopb.LockKeepAliveResponse_Status) {
	c.Helper()
	resp, err := c.LockKeepAlive(c.Context(),
		&layottopb.LockKeepAliveRequest{StoreName: "redis", ResourceId: "order_id_111", LockOwner: owner, Expire: seconds})
	if err != nil || resp.GetStatus() != want {
		c.Fatalf("LockKeepAlive by %s: %v, %v", owner, resp, err)
	}
}

// each runs the scenario in a bubble, with a client of an app that has one memory store.
func each(t *testing.T, scenario func(c sdk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		scenario(sdk{t, client(t, "app1", one, opened(t, one))})
	})
}

func TestALockHasOneOwner(t *testing.T) {
	each(t, func(c sdk) {
		c.tryLock("owner1", true)
		c.tryLock("owner2", false)
		c.tryLock("owner1", false) // not reentrant
		c.unlock("owner2", layottopb.UnlockResponse_LOCK_BELONG_TO_OTHERS)
		c.unlock("owner1", layottopb.UnlockResponse_SUCCESS)
		c.unlock("owner1", layottopb.UnlockResponse_LOCK_UNEXIST)
		c.tryLock("owner2", true)
		c.unlock("owner2", layottopb.UnlockResponse_SUCCESS)
	})
}

func TestALockExpires(t *testing.T) {
	each(t, func(c sdk) {
		c.tryLock("owner1", true)
		time.Sleep(10*time.Second - time.Millisecond)
		c.tryLock("owner2", false)
		time.Sleep(2 * time.Millisecond)
		c.unlock("owner1", layottopb.UnlockResponse_LOCK_UNEXIST)
		c.tryLock("owner2", true)
		c.unlock("owner1", layottopb.UnlockResponse_LOCK_BELONG_TO_OTHERS)
	})
}

func TestALockThatIsKeptAliveLasts(t *testing.T) {
	each(t, func(c sdk) {
		c.tryLock("owner1", true)
		for range 5 {
			time.Sleep(9 * time.Second)
			c.keepAlive("owner1", 10, layottopb.LockKeepAliveResponse_SUCCESS)
			c.tryLock("owner2", false)
		}
		c.keepAlive("owner2", 10, layottopb.LockKeepAliveResponse_LOCK_BELONG_TO_OTHERS)
		c.keepAlive("owner1", 1, layottopb.LockKeepAliveResponse_SUCCESS) // shorter counts too
		time.Sleep(time.Second + time.Millisecond)
		c.keepAlive("owner1", 10, layottopb.LockKeepAliveResponse_LOCK_UNEXIST)
		c.tryLock("owner2", true) // what is gone was not taken again
	})
}

func TestOwnersOfTwoAppsAreTwo(t *testing.T) {
	set := opened(t, one)
	mine, other := sdk{t, client(t, "app1", one, set)}, sdk{t, client(t, "app2", one, set)}
	mine.tryLock("owner", true)
	other.tryLock("owner", true)
	other.unlock("owner", layottopb.UnlockResponse_SUCCESS)
	other.unlock("owner", layottopb.UnlockResponse_LOCK_UNEXIST)
	mine.tryLock("owner", false)
	mine.unlock("owner", layottopb.UnlockResponse_SUCCESS)
}

func TestClientsOfOneAppWithOneOwnerAreOne(t *testing.T) {
	set := opened(t, one)
	mine, other := sdk{t, client(t, "app1", one, set)}, sdk{t, client(t, "app1", one, set)}
	mine.tryLock("owner", true)
	other.tryLock("owner", false)
	other.unlock("owner", layottopb.UnlockResponse_SUCCESS) // what the document warns of: the lock was somebody else's
	mine.unlock("owner", layottopb.UnlockResponse_LOCK_UNEXIST)
}

// message has the fields that any of the three messages can have.
type message struct {
	store, resource, owner string
	expire                 int32
}

// calls are the three calls, as functions of their error alone.
func calls(c layottopb.RuntimeClient) map[string]func(context.Context, message) error {
	return map[string]func(context.Context, message) error{
		"TryLock": func(ctx context.Context, m message) error {
			_, err := c.TryLock(ctx, &layottopb.TryLockRequest{
				StoreName: m.store, ResourceId: m.resource, LockOwner: m.owner, Expire: m.expire})
			return err
		},
		"LockKeepAlive": func(ctx context.Context, m message) error {
			_, err := c.LockKeepAlive(ctx, &layottopb.LockKeepAliveRequest{
				StoreName: m.store, ResourceId: m.resource, LockOwner: m.owner, Expire: m.expire})
			return err
		},
		"Unlock": func(ctx context.Context, m message) error {
			_, err := c.Unlock(ctx, &layottopb.UnlockRequest{StoreName: m.store, ResourceId: m.resource, LockOwner: m.owner})
			return err
		},
	}
}

func TestTheFirstThingThatIsWrongIsTold(t *testing.T) {
	none, some := map[string]string{}, one
	long := strings.Repeat("x", stores.MaxKeyLen)
	for _, row := range []struct {
		name       string
		components map[string]string
		message    message
		code       codes.Code
		want       string
		timed      bool // Unlock has no such field
	}{
		{"no store before all else", none, message{}, codes.FailedPrecondition, "lock store is not configured", false},
		{"no resource", some, message{"redis", "", "", 0}, codes.InvalidArgument, "ResourceId is empty in lock store redis", false},
		{"no resource before an unknown store", some, message{"nosuch", "", "o", 1},
			codes.InvalidArgument, "ResourceId is empty in lock store nosuch", false},
		{"no owner", some, message{"redis", "r", "", 0}, codes.InvalidArgument, "LockOwner is empty in lock store redis", false},
		{"no expiry", some, message{"redis", "r", "o", 0}, codes.InvalidArgument, "Expire is not positive in lock store redis", true},
		{"a negative expiry before an unknown store", some, message{"nosuch", "r", "o", -1},
			codes.InvalidArgument, "Expire is not positive in lock store nosuch", true},
		{"an unknown store", some, message{"nosuch", "r", "o", 1}, codes.InvalidArgument, "lock store nosuch not found", false},
		{"an unknown store before pipes", some, message{"nosuch", "a||b", "o", 1},
			codes.InvalidArgument, "lock store nosuch not found", false},
		{"no store's name", some, message{"", "r", "o", 1}, codes.InvalidArgument, "lock store  not found", false},
		{"pipes in the resource", some, message{"redis", "a||b", "o", 1},
			codes.Unknown, "input key/keyPrefix 'a||b' can't contain '||'", false},
		{"a long resource", some, message{"redis", long, "o", 1}, codes.InvalidArgument,
			"ResourceId with its prefix must be at most 1024 bytes, got 1037 in lock store redis", false},
		{"a long owner", some, message{"redis", "r", long + "x", 1}, codes.InvalidArgument,
			"LockOwner must be at most 1024 bytes, got 1025 in lock store redis", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := client(t, "app1", row.components, opened(t, row.components))
			for name, call := range calls(c) {
				if row.timed && name == "Unlock" {
					continue
				}
				if got := status.Convert(call(t.Context(), row.message)); got.Code() != row.code || got.Message() != row.want {
					t.Errorf("%s: %v %q", name, got.Code(), got.Message())
				}
			}
		})
	}
}

// scripted is stores that know nothing but what they fail with.
type scripted struct{ err error }

func (s scripted) Do(_ context.Context, _ string, fn func(stores.Store) error) error {
	return fn(failing{err: s.err})
}

type failing struct {
	stores.Store
	err error
}

func (f failing) TryLock(context.Context, stores.Request) (stores.Grant, error) {
	return stores.Grant{}, f.err
}
func (f failing) Unlock(context.Context, string, string) error { return f.err }
func (f failing) Renew(context.Context, stores.Request) (stores.Grant, error) {
	return stores.Grant{}, f.err
}

func TestAStoresTroubleIsToldAsItIs(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		code codes.Code
		want string
	}{
		{"its own", errors.New("redis: connection refused"), codes.Unknown, "redis: connection refused"},
		{"out of time", fmt.Errorf("redis: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "redis: context deadline exceeded"},
		{"closed since it was found", instances.ErrNotInitialized, codes.InvalidArgument, "lock store redis not found"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for name, call := range calls(client(t, "app1", one, scripted{row.err})) {
				got := status.Convert(call(t.Context(), message{"redis", "r", "o", 1}))
				if got.Code() != row.code || got.Message() != row.want {
					t.Errorf("%s: %v %q", name, got.Code(), got.Message())
				}
			}
		})
	}
}

// slow is a store whose client is gone when it grants.
type slow struct {
	stores.Store
	gone func()
}

func (s slow) Do(_ context.Context, _ string, fn func(stores.Store) error) error { return fn(s) }

func (s slow) TryLock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	grant, err := s.Store.TryLock(ctx, req)
	s.gone()
	return grant, err
}

func TestAClientThatIsGoneGetsNothing(t *testing.T) {
	set := opened(t, one)
	ctx, cancel := context.WithCancel(t.Context())
	err := set.Do(ctx, "redis", func(store stores.Store) error {
		s, err := New(Options{KeyPrefixes: one, Stores: slow{store, cancel}})
		if err != nil {
			return err
		}
		_, err = s.TryLock(ctx, &layottopb.TryLockRequest{StoreName: "redis", ResourceId: "r", LockOwner: "o", Expire: 10})
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if got := held(t, set); len(got) != 0 {
		t.Errorf("held are %q", got)
	}
}

func TestOnlyLayottosMethodsAreUnserved(t *testing.T) {
	for method, unserved := range map[string]bool{
		"/spec.proto.runtime.v1.Runtime/SayHello":                       true,
		"/spec.proto.runtime.v1.Lifecycle/ApplyConfiguration":           true,
		"/spec.proto.extension.v1.s3.ObjectStorageService/PutObject":    true,
		"/spec.proto.pluggable.v1.hello.Hello/SayHello":                 true,
		"/dapr.proto.runtime.v1.Dapr/SayHello":                          false,
		"/spec.prototype.Runtime/SayHello":                              false,
		"/shop.Orders/spec.proto.runtime.v1.Runtime/SayHello":           false,
		"spec.proto.runtime.v1.Runtime/SayHello, which is no full name": false,
	} {
		if err := Unserved(method); unserved != (status.Code(err) == codes.Unimplemented) || unserved != (err != nil) {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// TestTheWireIsLayottos holds the messages, byte by byte, to what Layotto's own would be.
func TestTheWireIsLayottos(t *testing.T) {
	if got := layottopb.Runtime_ServiceDesc.ServiceName; got != "spec.proto.runtime.v1.Runtime" {
		t.Errorf("the service is %s", got)
	}
	for _, row := range []struct {
		message proto.Message
		want    string
	}{
		{&layottopb.TryLockRequest{StoreName: "s", ResourceId: "r", LockOwner: "o", Expire: 7}, "\n\x01s\x12\x01r\x1a\x01o \x07"},
		{&layottopb.TryLockResponse{Success: true}, "\b\x01"},
		{&layottopb.UnlockRequest{StoreName: "s", ResourceId: "r", LockOwner: "o"}, "\n\x01s\x12\x01r\x1a\x01o"},
		{&layottopb.UnlockResponse{Status: 2}, "\b\x02"},
		{
			&layottopb.LockKeepAliveRequest{StoreName: "s", ResourceId: "r", LockOwner: "o", Expire: 7},
			"\n\x01s\x12\x01r\x1a\x01o \x07",
		},
		{&layottopb.LockKeepAliveResponse{Status: 3}, "\b\x03"},
	} {
		got, err := proto.Marshal(row.message)
		if err != nil || string(got) != row.want {
			t.Errorf("%T: %q, %v", row.message, got, err)
		}
	}
}
