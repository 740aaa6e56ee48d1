//lint:file-ignore SA1019 Discovery uses the blocking dial, and so do these tests.

package pluggablelock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dapr/dapr/pkg/components/lock"
	"github.com/dapr/dapr/pkg/components/pluggable"
	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	contriblock "github.com/dapr/components-contrib/lock"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
)

const (
	// discoverVariable, if it is set to the timeout of one socket, makes the test binary
	// run discovery.
	discoverVariable = "TEST_DISCOVER_SOCKET_TIMEOUT"

	// unprivilegedUID is the ID of a user that owns no files.
	unprivilegedUID = 65534
)

func TestMain(m *testing.M) {
	if timeout := os.Getenv(discoverVariable); timeout != "" {
		discoverAndReport(timeout)
		return
	}
	os.Exit(m.Run())
}

// discoverAndReport runs discovery as daprd does, and prints the result.
func discoverAndReport(timeout string) {
	d, err := time.ParseDuration(timeout)
	if err != nil {
		panic(err)
	}
	resolver.Register(&unixBuilder{defaultUnix, d})
	lock.DefaultRegistry.Logger = silent()
	if err := pluggable.Discover(context.Background()); err != nil {
		fmt.Println("discovery failed:", err)
	}
	for _, name := range []string{"a-good", "z-good"} {
		if _, err := lock.DefaultRegistry.Create("lock."+name, "v1", name); err == nil {
			fmt.Println("found", name)
		}
	}
}

// sharedFolder returns a new folder that all users can search.
func sharedFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "s") // the parent of t.TempDir is private
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	chmod(t, folder, 0o755)
	return folder
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// denyAccess removes all permissions for the path from the user of discoverUnprivileged,
// until the test ends.
func denyAccess(t *testing.T, path string) {
	t.Helper()
	mode := os.FileMode(0o700)
	if os.Geteuid() != 0 {
		mode = 0
	}
	chmod(t, path, mode)
	t.Cleanup(func() { chmod(t, path, 0o700) })
}

// discoverUnprivileged runs discovery in another process, as another user if this one is
// root, to which modes do not apply.
func discoverUnprivileged(t *testing.T, folder string, timeout time.Duration) (output string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	attributes := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		program = "/proc/self/exe" // the folder of the binary is private
		attributes.Credential = &syscall.Credential{Uid: unprivilegedUID, Gid: unprivilegedUID}
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.SysProcAttr, cmd.Dir = attributes, "/"
	cmd.Env = append(os.Environ(), pluggable.SocketFolderEnvVar+"="+folder, discoverVariable+"="+timeout.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("discovery: %v\n%s", err, out)
	}
	return string(out)
}

// linesWith returns the lines of the output that contain the text.
func linesWith(output, text string) (lines []string) {
	for line := range strings.Lines(output) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// listenAt listens on a socket that all users can connect to.
func listenAt(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	chmod(t, path, 0o666)
	return l
}

// leaveStaleSocket creates a socket on which no process listens.
func leaveStaleSocket(t *testing.T, path string) {
	t.Helper()
	l := listenAt(t, path)
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// unusable are the sockets and other files that discovery must skip.
var unusable = []struct {
	name string
	make func(t *testing.T, path string)
	want string // a part of the line in the log
}{
	{"denied", func(t *testing.T, path string) {
		serve(t, path, &component{})
		denyAccess(t, path)
	}, "permission denied: daprd (uid "},
	{"stale", leaveStaleSocket, "connection refused: no process listens on it; start the component, or remove the file"},
	{"hanging", func(t *testing.T, path string) { listenAt(t, path) }, "accepts connections and does not answer as a gRPC server"},
	{"quiet", func(t *testing.T, path string) {
		l := listenAt(t, path)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
			}
		}()
	}, "accepts connections and does not answer as a gRPC server"},
	{"closing", func(t *testing.T, path string) {
		l := listenAt(t, path)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_ = conn.Close()
			}
		}()
	}, "does not answer as a gRPC server: "},
	{"http", func(t *testing.T, path string) {
		server := &http.Server{}
		go server.Serve(listenAt(t, path))
		t.Cleanup(func() { _ = server.Close() })
	}, "does not answer as a gRPC server: "},
	{"without-reflection", func(t *testing.T, path string) {
		server := grpc.NewServer()
		lockpb.RegisterLockStoreServer(server, &component{})
		go server.Serve(listenAt(t, path))
		t.Cleanup(server.Stop)
	}, "does not serve gRPC reflection (grpc.reflection.v1alpha.ServerReflection)"},
	{"datagram", func(t *testing.T, path string) {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		chmod(t, path, 0o666)
	}, "it is not a stream socket; remove the file"},
	{"long-" + strings.Repeat("x", 90), func(t *testing.T, path string) {
		t.Chdir(filepath.Dir(path)) // to listen with a short path
		listenAt(t, filepath.Base(path))
	}, "its path must be at most "},
	{"file", func(t *testing.T, path string) {
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}, "could not use socket for file"},
	{"link", func(t *testing.T, path string) {
		if err := os.Symlink("a-good.sock", path); err != nil {
			t.Fatal(err)
		}
	}, "could not use socket for file"},
	{"dangling", func(t *testing.T, path string) {
		if err := os.Symlink("nowhere.sock", path); err != nil {
			t.Fatal(err)
		}
	}, "could not use socket for file"},
}

func TestDiscovery_SkipsUnusableSockets(t *testing.T) {
	folder := sharedFolder(t)
	for _, name := range []string{"a-good", "z-good"} { // before and after the others
		serve(t, filepath.Join(folder, name+".sock"), &component{})
		chmod(t, filepath.Join(folder, name+".sock"), 0o666)
	}
	for _, row := range unusable {
		row.make(t, filepath.Join(folder, row.name+".sock"))
	}
	output := discoverUnprivileged(t, folder, 3*time.Second)
	for _, row := range unusable {
		path := filepath.Join(folder, row.name+".sock")
		if lines := linesWith(output, path); len(lines) != 1 || !strings.Contains(lines[0], row.want) {
			t.Errorf("%s: got lines %q, want one with %q", row.name, lines, row.want)
		}
	}
	for _, name := range []string{"a-good", "z-good"} {
		if len(linesWith(output, "found "+name)) != 1 {
			t.Errorf("%s must be found:\n%s", name, output)
		}
	}
}

func TestDiscovery_SocketPermission(t *testing.T) {
	folder := sharedFolder(t)
	path := filepath.Join(folder, "mortise.sock")
	serve(t, path, &component{})
	denyAccess(t, path)
	start := time.Now()
	output := discoverUnprivileged(t, folder, socketTimeout)
	if took := time.Since(start); took < socketTimeout {
		t.Errorf("waited for %v, want %v: a component may set the mode after it listens", took, socketTimeout)
	}
	lines := linesWith(output, path)
	if len(lines) != 1 {
		t.Fatalf("got %d lines with the socket, want 1:\n%s", len(lines), output)
	}
	for _, want := range []string{"level=error", "permission denied", "write permission", "--socket-mode", "uid", "mode 0"} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("missing %q in %s", want, lines[0])
		}
	}
}

func TestDiscovery_FolderPermission(t *testing.T) {
	folder := sharedFolder(t)
	denyAccess(t, folder)
	output := discoverUnprivileged(t, folder, time.Second)
	want := "discovery failed: could not list pluggable components unix sockets: open " + folder + ": permission denied"
	if len(linesWith(output, want)) != 1 {
		t.Errorf("got %s, want %s", output, want)
	}
}

// dialFolder dials a socket in daprd's folder, as discovery does, with a timeout.
func dialFolder(t *testing.T, socket string, timeout time.Duration) (*grpc.ClientConn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return pluggable.SocketDial(ctx, socket, grpc.WithBlock(), grpc.WithResolvers(&unixBuilder{defaultUnix, timeout}))
}

func TestResolver_LateComponent(t *testing.T) {
	folder := sharedFolder(t)
	t.Setenv(pluggable.SocketFolderEnvVar, folder)
	socket := filepath.Join(folder, "late.sock")
	leaveStaleSocket(t, socket)
	dialed := make(chan error, 1)
	go func() {
		conn, err := dialFolder(t, socket, time.Minute)
		if err == nil {
			_, err = lockpb.NewLockStoreClient(conn).Features(t.Context(), &daprpb.FeaturesRequest{})
			err = errors.Join(err, conn.Close())
		}
		dialed <- err
	}()
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	serve(t, socket, &component{})
	if err := <-dialed; err != nil {
		t.Error(err)
	}
}

func TestResolver_ComponentAfterTimeout(t *testing.T) {
	folder := sharedFolder(t)
	t.Setenv(pluggable.SocketFolderEnvVar, folder)
	socket := filepath.Join(folder, "late.sock")
	leaveStaleSocket(t, socket)
	conn, err := dialFolder(t, socket, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := lockpb.NewLockStoreClient(conn)
	_, err = client.Features(t.Context(), &daprpb.FeaturesRequest{})
	want := "socket " + socket + " of the component cannot be used: "
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want Unavailable: %s", err, want)
	}
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	serve(t, socket, &component{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		_, err = client.Features(ctx, &daprpb.FeaturesRequest{})
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		conn.WaitForStateChange(ctx, conn.GetState()) // the resolver reconnects
	}
}

func TestResolver_CanceledDial(t *testing.T) {
	folder := sharedFolder(t)
	t.Setenv(pluggable.SocketFolderEnvVar, folder)
	socket := filepath.Join(folder, "hanging.sock")
	listenAt(t, socket)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := pluggable.SocketDial(ctx, socket, grpc.WithBlock(), grpc.WithResolvers(&unixBuilder{defaultUnix, time.Hour}))
	// The resolver's Close has waited for its goroutine.
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestResolver_OtherUnixTargets(t *testing.T) {
	t.Setenv(pluggable.SocketFolderEnvVar, sharedFolder(t))
	socket := filepath.Join(sharedFolder(t), "other.sock")
	serve(t, socket, &component{})
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := lockpb.NewLockStoreClient(conn).Features(t.Context(), &daprpb.FeaturesRequest{}); err != nil {
		t.Error(err)
	}
}

// A store whose component is unreachable waits for reconnectTimeout, and reports the
// cause.
func TestInit_StaleSocket(t *testing.T) {
	folder := sharedFolder(t)
	t.Setenv(pluggable.SocketFolderEnvVar, folder)
	socket := filepath.Join(folder, "mortise.sock")
	server := serve(t, socket, &component{})
	if err := pluggable.Discover(t.Context()); err != nil {
		t.Fatal(err)
	}
	lock.DefaultRegistry.Logger = silent()
	store, err := lock.DefaultRegistry.Create("lock.mortise", "v1", "orders")
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()
	leaveStaleSocket(t, socket)
	err = store.InitLockStore(t.Context(), contriblock.Metadata{})
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}
