package binding

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/internal/connid"
	"github.com/mortise-lock/mortise/stores"
)

func TestOpen_PerSidecar(t *testing.T) {
	inEnv(t, func(e *env) {
		shop := e.newOutput("b", map[string]string{"lockStore": "locks"})
		office := e.newOutput("b", map[string]string{"lockStore": "others"})
		shop.lock("k")
		office.lock("k")
		office.unlock("k")
		shop.unlock("k")
	})
}

func TestOpen_OwnStore(t *testing.T) {
	inEnv(t, func(e *env) {
		md := map[string]string{"store": "memory", "keys": "k", "direction": "input, output", "route": "/events"}
		a := e.newInput("own", md)
		a.accept(`{"kind": "SNAPSHOT", "revision": null, "locks": []}`)
		e.newOutput("own", md).lock("k")
		a.accept(acquired("k"))
		e.newOutput("b", map[string]string{"lockStore": "own"}).unlock("k")
		a.accept(released("k"))
	})
}

// uninitialized reports whether calls fail because the binding is not initialized.
func (s *sidecar) uninitialized() bool {
	s.Helper()
	_, err := s.invoke("list", `{}`)
	if err == nil {
		return false
	}
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), `NOT_INITIALIZED: binding "b"`) {
		s.Fatal(err)
	}
	if err := s.read().waitEnd(); status.Code(err) != codes.FailedPrecondition {
		s.Fatal(err)
	}
	return true
}

// shopProcess and officeProcess are the pids of processes that exist: this one and init.
var shopProcess, officeProcess = int64(os.Getpid()), int64(1)

func TestConnRegistry_Reconnect(t *testing.T) {
	inEnv(t, func(e *env) {
		e.process.Store(shopProcess)
		shop := e.newOutput("b", map[string]string{"lockStore": "locks"})
		own := e.newOutput("own", map[string]string{"store": "memory"})
		e.process.Store(officeProcess)
		office := e.newOutput("b", map[string]string{"lockStore": "others"})
		shop.lock("k")
		own.lock("k")
		office.lock("k")
		office.unlock("k")

		time.Sleep(31 * time.Minute) // gRPC clients close idle connections
		e.idle()
		e.process.Store(shopProcess)
		shop.lock("k")
		own.lock("k")
		e.process.Store(officeProcess)
		office.lock("k")
	})
}

// idle checks that no connection is open, and that the binding's own store is closed.
func (e *env) idle() {
	e.Helper()
	synctest.Wait()
	if n := len(e.conns.open); n != 0 {
		e.Fatalf("there are %d connections", n)
	}
	err := e.set.Resolver().Do(e.Context(), "own", func(stores.Store) error { return nil })
	if !errors.Is(err, instances.ErrNotInitialized) {
		e.Fatal(err)
	}
}

func TestConnRegistry_UnknownProcess(t *testing.T) {
	inEnv(t, func(e *env) {
		shop := e.newOutput("b", map[string]string{"lockStore": "locks"})
		office := e.newOutput("b", map[string]string{"lockStore": "others"})
		shop.lock("k")
		office.lock("k")
		third := e.dial("b")
		third.unlock("k") // uses the binding that was initialized last, the office's
		office.lock("k")
	})
}

func TestConnRegistry_Preloaded(t *testing.T) {
	inEnv(t, func(e *env) {
		stranger := e.dial("b")
		if !stranger.uninitialized() {
			t.Error("the binding is there before Open")
		}
		// As the process does when it starts:
		if err := e.Open(e.Context(), "b", locksMetadata); err != nil {
			t.Fatal(err)
		}
		if stranger.uninitialized() {
			t.Error("the preloaded binding is missing")
		}
	})
}

func TestConnRegistry_ForgetsExitedProcesses(t *testing.T) {
	inEnv(t, func(e *env) {
		child := exec.Command("true")
		if err := child.Run(); err != nil {
			t.Fatal(err)
		}
		e.process.Store(int64(child.Process.Pid))
		e.newOutput("b", locksMetadata)
		e.process.Store(shopProcess)
		e.newOutput("b", locksMetadata)
		e.conns.mu.Lock()
		defer e.conns.mu.Unlock()
		if n := len(e.conns.initialized); n != 1 {
			t.Errorf("%d processes are recorded, want 1", n)
		}
	})
}

func TestConnRegistry_InitAfterDisconnect(t *testing.T) {
	inEnv(t, func(e *env) {
		ended := connid.NewContext(e.Context(), &connection{bindings: bindings{}})
		if err := e.Open(ended, "b", locksMetadata); err != nil {
			t.Fatal(err)
		}
		if !e.dial("b").uninitialized() {
			t.Error("the binding was recorded")
		}
	})
}

func TestPeerProcess(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	if runtime.GOOS == "linux" {
		want = os.Getpid()
	}
	if got := peerProcess(server); got != want {
		t.Errorf("process %d, want %d", got, want)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if got := peerProcess(server); got != 0 {
		t.Errorf("process %d of a connection that has ended", got)
	}
	if one, _ := net.Pipe(); peerProcess(one) != 0 {
		t.Error("a pipe has a process")
	}
}

func TestInit_Metadata(t *testing.T) {
	long := strings.Repeat("x", 1025)
	for _, row := range []struct {
		name string
		md   map[string]string
		want string // part of the error
	}{
		{"none", nil, ""},
		{"everything", map[string]string{
			"LOCKSTORE": "locks", "keys": "a,b*,*", "channels": "MESSAGE/c, STREAM/a b", "user": "u", "retries": "0"}, ""},
		{"daprd's own keys", map[string]string{"direction": "output", "route": "/r"}, ""},
		{"a store of its own", map[string]string{"store": "memory", "restartGrace": "0s"}, ""},
		{"two stores", map[string]string{"lockStore": "locks", "store": "memory", "restartGrace": "1s"},
			`binding "b": metadata keys ["restartGrace" "store"]: must not be set together with lockStore`},
		{"an unknown key", map[string]string{"lockStor": "locks"},
			`component "b": metadata key "lockStor": store memory does not support it`},
		{"a key twice", map[string]string{"keys": "a", "Keys": "b"}, "metadata keys Keys and keys differ only in case"},
		{"an oversized key", map[string]string{"keys": long}, "metadata key keys: each must be at most 1024 bytes, got 1025"},
		{"an oversized prefix", map[string]string{"keys": long + "*"}, "metadata key keys: each must be at most 1024 bytes, got 1025"},
		{"a channel without a type", map[string]string{"channels": "c", "user": "u"},
			`metadata key channels: each must be MESSAGE/ or STREAM/ and a name, got "c"`},
		{"a channel of another type", map[string]string{"channels": "USER/c", "user": "u"}, `each must be MESSAGE/ or STREAM/ and a name, got "USER/c"`},
		{"a channel without a name", map[string]string{"channels": "MESSAGE/", "user": "u"}, `each must be MESSAGE/ or STREAM/ and a name, got "MESSAGE/"`},
		{"a channel without a user", map[string]string{"channels": "MESSAGE/c"}, "metadata key channels: requires the metadata key user"},
		{"retries that are not a number", map[string]string{"retries": "often"}, "metadata key retries"},
		{"too few retries", map[string]string{"retries": "-1"}, "metadata key retries: must be 0 to 100, got -1"},
		{"too many retries", map[string]string{"retries": "101"}, "metadata key retries: must be 0 to 100, got 101"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inEnv(t, func(e *env) {
				s := e.dial("b")
				_, outErr := s.output.Init(e.Context(), &daprpb.OutputBindingInitRequest{Metadata: properties(row.md)})
				_, inErr := s.input.Init(e.Context(), &daprpb.InputBindingInitRequest{Metadata: properties(row.md)})
				for _, err := range []error{outErr, inErr} {
					got := status.Convert(err)
					want := codes.OK
					if row.want != "" {
						want = codes.InvalidArgument
					}
					if got.Code() != want || !strings.Contains(got.Message(), row.want) {
						t.Errorf("%v", err)
					}
				}
			})
		})
	}
}

func TestInit_FailureKeepsTheBinding(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		bad := &daprpb.OutputBindingInitRequest{Metadata: properties(map[string]string{"retries": "x"})}
		if _, err := b.output.Init(e.Context(), bad); err == nil {
			t.Error("Init accepts invalid metadata")
		}
		b.lock("k")
	})
}

func TestPing(t *testing.T) {
	inEnv(t, func(e *env) {
		s := e.dial("b")
		_, out := s.output.Ping(e.Context(), &daprpb.PingRequest{})
		_, in := s.input.Ping(e.Context(), &daprpb.PingRequest{})
		if out != nil || in != nil {
			t.Error(out, in)
		}
	})
}
