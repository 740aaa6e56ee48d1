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
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/stores"
)

func TestEachSidecarHasItsOwnBinding(t *testing.T) {
	inWorld(t, func(w *world) {
		shop := w.outputOf("b", map[string]string{"lockStore": "locks"})
		office := w.outputOf("b", map[string]string{"lockStore": "others"})
		shop.lock("k")
		office.lock("k")
		office.unlock("k")
		shop.unlock("k")
	})
}

func TestABindingWithAStoreOfItsOwnIsAComponent(t *testing.T) {
	inWorld(t, func(w *world) {
		md := map[string]string{"store": "memory", "keys": "k", "direction": "input, output", "route": "/events"}
		a := w.inputOf("own", md)
		a.take(`{"kind": "SNAPSHOT", "revision": null, "locks": []}`)
		w.outputOf("own", md).lock("k")
		a.take(acquired("k"))
		w.outputOf("b", map[string]string{"lockStore": "own"}).unlock("k")
		a.take(released("k"))
	})
}

// uninitialized tells whether the sidecar has to initialize its bindings first.
func (s *sidecar) uninitialized() bool {
	s.Helper()
	_, err := s.invoke("list", `{}`)
	if err == nil {
		return false
	}
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), `NOT_INITIALIZED: binding "b"`) {
		s.Fatal(err)
	}
	if err := s.read().end(); status.Code(err) != codes.FailedPrecondition {
		s.Fatal(err)
	}
	return true
}

// pids of processes that run, as far as the tests are concerned: our own and the first.
var shopProcess, officeProcess = int64(os.Getpid()), int64(1)

func TestASidecarThatConnectsAgainHasItsBindings(t *testing.T) {
	inWorld(t, func(w *world) {
		w.process.Store(shopProcess)
		shop := w.outputOf("b", map[string]string{"lockStore": "locks"})
		own := w.outputOf("own", map[string]string{"store": "memory"})
		w.process.Store(officeProcess)
		office := w.outputOf("b", map[string]string{"lockStore": "others"})
		shop.lock("k")
		own.lock("k")
		office.lock("k")
		office.unlock("k")

		time.Sleep(31 * time.Minute) // gRPC's clients close what is idle
		w.idle()
		w.process.Store(shopProcess)
		shop.lock("k")
		own.lock("k")
		w.process.Store(officeProcess)
		office.lock("k")
	})
}

// idle checks that there is no connection, and no store of a binding's own.
func (w *world) idle() {
	w.Helper()
	synctest.Wait()
	if n := len(w.sidecars.connections); n != 0 {
		w.Fatalf("there are %d connections", n)
	}
	err := w.set.Resolver().Do(w.Context(), "own", func(stores.Store) error { return nil })
	if !errors.Is(err, instances.ErrNotInitialized) {
		w.Fatal(err)
	}
}

func TestSidecarsThatCannotBeToldApartAreOne(t *testing.T) {
	inWorld(t, func(w *world) {
		shop := w.outputOf("b", map[string]string{"lockStore": "locks"})
		office := w.outputOf("b", map[string]string{"lockStore": "others"})
		shop.lock("k")
		office.lock("k")
		third := w.dial("b")
		third.unlock("k") // the office's, whose binding is the last
		office.lock("k")
	})
}

func TestABindingOfNobodyIsForAll(t *testing.T) {
	inWorld(t, func(w *world) {
		stranger := w.dial("b")
		if !stranger.uninitialized() {
			t.Error("what nobody has initialized is there")
		}
		if err := w.Open(w.Context(), "b", ofLocks); err != nil { // as the process does at its start
			t.Fatal(err)
		}
		if stranger.uninitialized() {
			t.Error("what nobody has initialized is nobody's")
		}
	})
}

func TestWhatEndedProcessesHaveInitializedIsForgotten(t *testing.T) {
	inWorld(t, func(w *world) {
		child := exec.Command("true")
		if err := child.Run(); err != nil {
			t.Fatal(err)
		}
		w.process.Store(int64(child.Process.Pid))
		w.outputOf("b", ofLocks)
		w.process.Store(shopProcess)
		w.outputOf("b", ofLocks)
		w.sidecars.mu.Lock()
		defer w.sidecars.mu.Unlock()
		if n := len(w.sidecars.initialized); n != 1 {
			t.Errorf("%d processes are remembered", n)
		}
	})
}

func TestAnInitThatOutlivesItsConnectionIsForgotten(t *testing.T) {
	inWorld(t, func(w *world) {
		gone := peer.NewContext(w.Context(), &peer.Peer{Addr: address{"bufconn", "bufconn connection 0"}})
		if err := w.Open(gone, "b", ofLocks); err != nil {
			t.Fatal(err)
		}
		if !w.dial("b").uninitialized() {
			t.Error("somebody has it")
		}
	})
}

func TestTheProcessOfAUnixSocketIsKnown(t *testing.T) {
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
	if got := processOf(server); got != want {
		t.Errorf("process %d, want %d", got, want)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if got := processOf(server); got != 0 {
		t.Errorf("process %d of a connection that has ended", got)
	}
	if one, _ := net.Pipe(); processOf(one) != 0 {
		t.Error("a pipe has a process")
	}
}

func TestMetadataIsUnderstood(t *testing.T) {
	long := strings.Repeat("x", 1025)
	for _, row := range []struct {
		name string
		md   map[string]string
		want string // part of the error
	}{
		{"none", nil, ""},
		{"everything", map[string]string{
			"LOCKSTORE": "locks", "keys": "a,b*,*", "channels": "MESSAGE/c, STREAM/a b", "user": "u", "retries": "0"}, ""},
		{"what daprd has of its own", map[string]string{"direction": "output", "route": "/r"}, ""},
		{"a store of its own", map[string]string{"store": "memory", "restartGrace": "0s"}, ""},
		{"two stores", map[string]string{"lockStore": "locks", "store": "memory", "restartGrace": "1s"},
			`binding "b": metadata keys ["restartGrace" "store"]: the store is that of lockStore, and has its own`},
		{"a key that nobody knows", map[string]string{"lockStor": "locks"},
			`component "b": metadata key "lockStor": store memory does not support it`},
		{"a key twice", map[string]string{"keys": "a", "Keys": "b"}, "metadata keys Keys and keys differ only in case"},
		{"an oversized key", map[string]string{"keys": long}, "metadata key keys: has one of 1025 bytes, the most is 1024"},
		{"an oversized prefix", map[string]string{"keys": long + "*"}, "metadata key keys: has one of 1025 bytes, the most is 1024"},
		{"a channel without a type", map[string]string{"channels": "c", "user": "u"},
			`metadata key channels: "c" is no MESSAGE/ or STREAM/`},
		{"a channel of another type", map[string]string{"channels": "USER/c", "user": "u"}, `"USER/c" is no MESSAGE/ or STREAM/`},
		{"a channel without a name", map[string]string{"channels": "MESSAGE/", "user": "u"}, `"MESSAGE/" is no MESSAGE/ or STREAM/`},
		{"a channel without a user", map[string]string{"channels": "MESSAGE/c"}, "metadata key channels: needs a user"},
		{"no number of retries", map[string]string{"retries": "often"}, "metadata key retries"},
		{"too few retries", map[string]string{"retries": "-1"}, "metadata key retries: is not in 0 to 100"},
		{"too many retries", map[string]string{"retries": "101"}, "metadata key retries: is not in 0 to 100"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				s := w.dial("b")
				_, outErr := s.output.Init(w.Context(), &daprpb.OutputBindingInitRequest{Metadata: properties(row.md)})
				_, inErr := s.input.Init(w.Context(), &daprpb.InputBindingInitRequest{Metadata: properties(row.md)})
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

func TestABindingThatCannotBeInitializedAgainStays(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.outputOf("b", ofLocks)
		bad := &daprpb.OutputBindingInitRequest{Metadata: properties(map[string]string{"retries": "x"})}
		if _, err := b.output.Init(w.Context(), bad); err == nil {
			t.Error("bad metadata was taken")
		}
		b.lock("k")
	})
}

func TestPingIsAnswered(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.dial("b")
		_, out := s.output.Ping(w.Context(), &daprpb.PingRequest{})
		_, in := s.input.Ping(w.Context(), &daprpb.PingRequest{})
		if out != nil || in != nil {
			t.Error(out, in)
		}
	})
}
