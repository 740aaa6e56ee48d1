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

// openStores returns a set with a memory store for each prefix. The set is closed at the
// end of the test.
func openStores(t *testing.T, prefixes map[string]string) *instances.Set {
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

// dial serves an API with the options and returns a connection to it.
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

// client returns a client of an API for an app whose components have the prefixes.
func client(t *testing.T, appID string, prefixes map[string]string, s Stores) layottopb.RuntimeClient {
	t.Helper()
	return layottopb.NewRuntimeClient(dial(t, Options{AppID: appID, KeyPrefixes: prefixes, Stores: s}))
}

// oneComponent is a component whose keys contain the app's id.
var oneComponent = map[string]string{"redis": ""}

// sdk calls like Layotto's SDKs, with the store "redis" and the resource "order_id_111".
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

// inBubble runs the scenario in a synctest bubble, with a client for an app with one
// memory store.
func inBubble(t *testing.T, scenario func(c sdk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		scenario(sdk{t, client(t, "app1", oneComponent, openStores(t, oneComponent))})
	})
}

func TestService_Exclusion(t *testing.T) {
	inBubble(t, func(c sdk) {
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

func TestService_Expiry(t *testing.T) {
	inBubble(t, func(c sdk) {
		c.tryLock("owner1", true)
		time.Sleep(10*time.Second - time.Millisecond)
		c.tryLock("owner2", false)
		time.Sleep(2 * time.Millisecond)
		c.unlock("owner1", layottopb.UnlockResponse_LOCK_UNEXIST)
		c.tryLock("owner2", true)
		c.unlock("owner1", layottopb.UnlockResponse_LOCK_BELONG_TO_OTHERS)
	})
}

func TestLockKeepAlive(t *testing.T) {
	inBubble(t, func(c sdk) {
		c.tryLock("owner1", true)
		for range 5 {
			time.Sleep(9 * time.Second)
			c.keepAlive("owner1", 10, layottopb.LockKeepAliveResponse_SUCCESS)
			c.tryLock("owner2", false)
		}
		c.keepAlive("owner2", 10, layottopb.LockKeepAliveResponse_LOCK_BELONG_TO_OTHERS)
		// A shorter time replaces a longer one.
		c.keepAlive("owner1", 1, layottopb.LockKeepAliveResponse_SUCCESS)
		time.Sleep(time.Second + time.Millisecond)
		c.keepAlive("owner1", 10, layottopb.LockKeepAliveResponse_LOCK_UNEXIST)
		c.tryLock("owner2", true) // LockKeepAlive did not acquire the expired lock
	})
}

func TestTryLock_SameOwnerInTwoApps(t *testing.T) {
	set := openStores(t, oneComponent)
	mine, other := sdk{t, client(t, "app1", oneComponent, set)}, sdk{t, client(t, "app2", oneComponent, set)}
	mine.tryLock("owner", true)
	other.tryLock("owner", true)
	other.unlock("owner", layottopb.UnlockResponse_SUCCESS)
	other.unlock("owner", layottopb.UnlockResponse_LOCK_UNEXIST)
	mine.tryLock("owner", false)
	mine.unlock("owner", layottopb.UnlockResponse_SUCCESS)
}

func TestUnlock_SameOwnerInOneApp(t *testing.T) {
	set := openStores(t, oneComponent)
	mine, other := sdk{t, client(t, "app1", oneComponent, set)}, sdk{t, client(t, "app1", oneComponent, set)}
	mine.tryLock("owner", true)
	other.tryLock("owner", false)
	// As the docs warn, this releases the lock of the other client.
	other.unlock("owner", layottopb.UnlockResponse_SUCCESS)
	mine.unlock("owner", layottopb.UnlockResponse_LOCK_UNEXIST)
}

// message has the fields of all three messages.
type message struct {
	store, resource, owner string
	expire                 int32
}

// calls are the three calls, reduced to their errors.
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

func TestCalls_InvalidRequests(t *testing.T) {
	none, some := map[string]string{}, oneComponent
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
			c := client(t, "app1", row.components, openStores(t, row.components))
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

// failingStores is Stores with a store whose calls fail with err.
type failingStores struct{ err error }

func (s failingStores) Do(_ context.Context, _ string, fn func(stores.Store) error) error {
	return fn(failingStore{err: s.err})
}

type failingStore struct {
	stores.Store
	err error
}

func (f failingStore) TryLock(context.Context, stores.Request) (stores.Grant, error) {
	return stores.Grant{}, f.err
}
func (f failingStore) Unlock(context.Context, string, string) error { return f.err }
func (f failingStore) Renew(context.Context, stores.Request) (stores.Grant, error) {
	return stores.Grant{}, f.err
}

func TestCalls_StoreErrors(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		code codes.Code
		want string
	}{
		{"its own", errors.New("redis: connection refused"), codes.Unknown, "redis: connection refused"},
		{"out of time", fmt.Errorf("redis: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "redis: context deadline exceeded"},
		{"closed in the meantime", instances.ErrNotInitialized, codes.InvalidArgument, "lock store redis not found"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for name, call := range calls(client(t, "app1", oneComponent, failingStores{row.err})) {
				got := status.Convert(call(t.Context(), message{"redis", "r", "o", 1}))
				if got.Code() != row.code || got.Message() != row.want {
					t.Errorf("%s: %v %q", name, got.Code(), got.Message())
				}
			}
		})
	}
}

// cancelingStore is a store whose caller cancels while the lock is granted.
type cancelingStore struct {
	stores.Store
	cancel func()
}

func (s cancelingStore) Do(_ context.Context, _ string, fn func(stores.Store) error) error {
	return fn(s)
}

func (s cancelingStore) TryLock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	grant, err := s.Store.TryLock(ctx, req)
	s.cancel()
	return grant, err
}

func TestTryLock_CanceledCaller(t *testing.T) {
	set := openStores(t, oneComponent)
	ctx, cancel := context.WithCancel(t.Context())
	err := set.Do(ctx, "redis", func(store stores.Store) error {
		s, err := New(Options{KeyPrefixes: oneComponent, Stores: cancelingStore{store, cancel}})
		if err != nil {
			return err
		}
		_, err = s.TryLock(ctx, &layottopb.TryLockRequest{StoreName: "redis", ResourceId: "r", LockOwner: "o", Expire: 10})
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if got := heldKeys(t, set); len(got) != 0 {
		t.Errorf("held are %q", got)
	}
}

func TestUnserved(t *testing.T) {
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

// TestWireFormat compares the encoded messages with those of Layotto.
func TestWireFormat(t *testing.T) {
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
