package component

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/instances"
	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/all"
)

// process is a running Run.
type process struct {
	socket string
	stop   context.CancelFunc
	ended  chan error
}

// startRun starts Run. It returns when the socket appears or with the error of Run.
func startRun(t *testing.T, o Options, registry *stores.Registry) (*process, error) {
	t.Helper()
	o.Name, o.SocketMode = "mortise", 0o600
	ctx, stop := context.WithCancel(context.Background())
	r := &process{socket: filepath.Join(o.Folder, "mortise.sock"), stop: stop, ended: make(chan error, 1)}
	go func() { r.ended <- Run(ctx, o, registry, logger.NewLogger("test")) }()
	t.Cleanup(stop)
	for {
		select {
		case err := <-r.ended:
			return nil, err
		case <-time.After(5 * time.Millisecond):
			if _, err := os.Lstat(r.socket); err == nil {
				return r, nil
			}
		}
	}
}

// start starts Run with the memory store.
func start(t *testing.T) *process {
	t.Helper()
	r, err := startRun(t, Options{Folder: t.TempDir(), DrainTimeout: time.Second}, all.Backends("memory"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// end stops Run and returns its error.
func (r *process) end(t *testing.T) error {
	t.Helper()
	r.stop()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not end")
		return nil
	}
}

// awaitNoSocket waits until the socket has disappeared.
func (r *process) awaitNoSocket(t *testing.T) {
	t.Helper()
	for late := time.After(10 * time.Second); ; {
		select {
		case <-late:
			t.Fatal("the socket has not disappeared")
		case <-time.After(5 * time.Millisecond):
			if _, err := os.Lstat(r.socket); errors.Is(err, os.ErrNotExist) {
				return
			}
		}
	}
}

// connect connects to the socket.
func (r *process) connect(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+r.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// at returns the ctx of a call for the component.
func at(t *testing.T, instance string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), instances.Header, instance)
}

func initialize(t *testing.T, locks lockpb.LockStoreClient, instance string, properties map[string]string) error {
	t.Helper()
	_, err := locks.Init(at(t, instance), &lockpb.LockStoreInitRequest{Metadata: &daprpb.MetadataRequest{Properties: properties}})
	return err
}

func tryLock(t *testing.T, locks lockpb.LockStoreClient, instance, key string) (bool, error) {
	t.Helper()
	resp, err := locks.TryLock(at(t, instance), &lockpb.TryLockRequest{ResourceId: key, LockOwner: "o", ExpiryInSeconds: 60})
	return resp.GetSuccess(), err
}

func TestRun_SocketServices(t *testing.T) {
	conn := start(t).connect(t)
	want := []string{
		"dapr.proto.components.v1.InputBinding", "dapr.proto.components.v1.LockStore", "dapr.proto.components.v1.OutputBinding",
		"grpc.health.v1.Health",
		"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection", "mortise.locks.v1.Locks",
		"mortise.rtm.v1.ChannelLocks",
	}
	for _, version := range []string{"v1", "v1alpha"} {
		if got := listServices(t, conn, version); !slices.Equal(got, want) {
			t.Errorf("reflection %s lists %v", version, got)
		}
	}
	for _, service := range []string{
		"", "dapr.proto.components.v1.LockStore", "mortise.locks.v1.Locks", "mortise.rtm.v1.ChannelLocks",
	} {
		resp, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", service, resp, err)
		}
	}
}

// listServices lists the services through a version of the reflection service. All
// versions have the same messages.
func listServices(t *testing.T, conn *grpc.ClientConn, version string) (names []string) {
	t.Helper()
	method := "/grpc.reflection." + version + ".ServerReflection/ServerReflectionInfo"
	stream, err := conn.NewStream(t.Context(), &reflectpb.ServerReflection_ServiceDesc.Streams[0], method)
	if err != nil {
		t.Fatal(err)
	}
	req := &reflectpb.ServerReflectionRequest{MessageRequest: &reflectpb.ServerReflectionRequest_ListServices{}}
	if err := stream.SendMsg(req); err != nil {
		t.Fatal(err)
	}
	var resp reflectpb.ServerReflectionResponse
	if err := stream.RecvMsg(&resp); err != nil {
		t.Fatal(err)
	}
	for _, s := range resp.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	return names
}

func TestRun_SeparateComponents(t *testing.T) {
	locks := lockpb.NewLockStoreClient(start(t).connect(t))
	for _, name := range []string{"a", "b", ""} {
		if err := initialize(t, locks, name, nil); err != nil {
			t.Fatal(err)
		}
		if ok, err := tryLock(t, locks, name, "k"); err != nil || !ok {
			t.Errorf("in %q: %v, %v", name, ok, err)
		}
	}
	if _, err := tryLock(t, locks, "c", "k"); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("in a component that is not open: %v", err)
	}
}

func TestRun_RepeatedInit(t *testing.T) {
	locks := lockpb.NewLockStoreClient(start(t).connect(t))
	for _, properties := range []map[string]string{nil, {"restartGrace": "0s"}, {"store": "memory"}} {
		if err := initialize(t, locks, "a", properties); err != nil {
			t.Fatal(err)
		}
		if ok, err := tryLock(t, locks, "a", "k"); err != nil || ok != (properties == nil) {
			t.Errorf("after Init with %v: %v, %v", properties, ok, err)
		}
	}
}

func TestRun_ResourcesBeforeSocket(t *testing.T) {
	file := filepath.Join(t.TempDir(), "locks.yaml")
	if err := os.WriteFile(file, []byte(componentHead), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := startRun(t, Options{Folder: t.TempDir(), ResourcePaths: []string{file}}, all.Backends("memory"))
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := tryLock(t, lockpb.NewLockStoreClient(r.connect(t)), "locks", "k"); err != nil || !ok {
		t.Errorf("the first call: %v, %v", ok, err)
	}
}

func TestRun_RTMMetadata(t *testing.T) {
	file := filepath.Join(t.TempDir(), "locks.yaml")
	for value, want := range map[string]string{"20": "", "20s": "", "0": "metadata key rtmMinTTL", "soon": "rtmMinTTL"} {
		text := componentHead + "  metadata:\n  - name: rtmMinTTL\n    value: " + value + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := startRun(t, Options{Folder: t.TempDir(), ResourcePaths: []string{file}}, all.Backends("memory"))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", value, err)
		}
		if err != nil {
			continue
		}
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	}
}

func TestRun_KeepsCallersRegistry(t *testing.T) {
	registry := all.Backends("memory")
	r, err := startRun(t, Options{Folder: t.TempDir()}, registry)
	if err != nil {
		t.Fatal(err)
	}
	_, err = registry.Open(t.Context(), stores.Component{Name: "a", Metadata: map[string]string{"rtmMinTTL": "20s"}, Log: discard})
	if err == nil || !strings.Contains(err.Error(), "rtmMinTTL") {
		t.Errorf("the caller's registry knows RTM's metadata: %v", err)
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}

func TestRun_FailedStart(t *testing.T) {
	folder := t.TempDir()
	_, err := startRun(t, Options{Folder: folder, ResourcePaths: []string{"/does/not/exist"}}, all.Backends("memory"))
	if err == nil {
		t.Fatal("started")
	}
	if _, err := os.Lstat(filepath.Join(folder, "mortise.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket: %v", err)
	}
	if r, err := startRun(t, Options{Folder: folder}, all.Backends("memory")); err != nil {
		t.Errorf("the next start: %v", err)
	} else if err := r.end(t); err != nil {
		t.Error(err)
	}
}

func TestRun_GarbageOnSocket(t *testing.T) {
	r := start(t)
	locks := lockpb.NewLockStoreClient(r.connect(t))
	if err := initialize(t, locks, "a", nil); err != nil {
		t.Fatal(err)
	}
	for _, garbage := range []string{"\x00\xff\xfe", "GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff"} {
		conn, err := net.Dial("unix", r.socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
		if ok, err := tryLock(t, locks, "a", garbage[:1]+"k"); status.Code(err) == codes.Unavailable {
			t.Errorf("after %q: %v, %v", garbage, ok, err)
		}
		_ = conn.Close()
	}
	if ok, err := tryLock(t, locks, "a", "k"); err != nil || !ok {
		t.Errorf("after the garbage: %v, %v", ok, err)
	}
}

// slowStore is a store whose TryLock blocks until leave is closed.
type slowStore struct {
	stores.Store
	entered chan struct{}
	leave   chan struct{} // nil: until ctx ends
}

func (s slowStore) TryLock(ctx context.Context, _ stores.Request) (stores.Grant, error) {
	close(s.entered)
	select {
	case <-s.leave:
		return stores.Grant{Acquired: true}, nil
	case <-ctx.Done():
		return stores.Grant{}, ctx.Err()
	}
}

func (s slowStore) Close() error { return nil }

func TestRun_Shutdown(t *testing.T) {
	for _, row := range []struct {
		name     string
		timeout  time.Duration
		finishes bool
		want     codes.Code
	}{
		{"finishes a call in progress after the socket has disappeared", time.Minute, true, codes.OK},
		{"cancels a call that takes too long", 50 * time.Millisecond, false, codes.Unavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			slow := slowStore{entered: make(chan struct{})}
			if row.finishes {
				slow.leave = make(chan struct{})
			}
			registry := stores.NewRegistry("slow")
			registry.Register("slow", stores.Backend{Config: struct{}{}, Open: func(context.Context, stores.Component) (stores.Store, error) {
				return slow, nil
			}})
			r, err := startRun(t, Options{Folder: t.TempDir(), DrainTimeout: row.timeout}, registry)
			if err != nil {
				t.Fatal(err)
			}
			locks := lockpb.NewLockStoreClient(r.connect(t))
			if err := initialize(t, locks, "a", nil); err != nil {
				t.Fatal(err)
			}
			answered := make(chan error, 1)
			go func() {
				_, err := tryLock(t, locks, "a", "k")
				answered <- err
			}()
			<-slow.entered
			r.stop()
			if row.finishes {
				r.awaitNoSocket(t)
				close(slow.leave)
			}
			if err := <-answered; status.Code(err) != row.want {
				t.Errorf("the call in progress: %v", err)
			}
			if err := r.end(t); err != nil {
				t.Errorf("Run: %v", err)
			}
			if _, err := os.Lstat(r.socket); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket: %v", err)
			}
		})
	}
}
