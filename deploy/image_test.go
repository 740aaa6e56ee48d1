//go:build linux

package deploy

import (
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	server "github.com/mortise-lock/mortise/component"
	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
)

const (
	// workdir is the build stages' folder for the build context.
	workdir = "/src"

	// maxImage limits the size of the image's files in bytes. It is well above the
	// present size, and well below the size with another large vendor library.
	maxImage = 40 << 20

	// startTimeout limits the time until Mortise is healthy, stopTimeout the time until
	// it has ended.
	startTimeout = 20 * time.Second
	stopTimeout  = 20 * time.Second
)

// TestImage does what "docker build" and "docker run" would do, with the Dockerfile's
// steps: it builds in a copy of the build context, copies the files of the last stage
// into an empty folder, and starts the entry point with that folder as its root folder
// and with the image's user.
func TestImage(t *testing.T) {
	if os.Getenv("MORTISE_TEST_ALL") == "" {
		t.Skip("long, because it builds the program; make test-all runs it")
	}
	stages := dockerfile(t)
	src, root := t.TempDir(), rootFolder(t)
	buildContext(t, src)
	runSteps(t, stages["build"], src, "VERSION=v0.0.0-image")
	uid, gid := user(t, stages["mortise"])
	assemble(t, stages["mortise"], src, root, uid, gid)

	program := entryPoint(t, stages["mortise"])
	checkStatic(t, filepath.Join(root, program))
	checkSize(t, root)

	t.Run("runs in an empty root folder", func(t *testing.T) {
		needRoot(t)
		checkVersion(t, chrootCommand(t, root, uid, gid, program, "--version"), "v0.0.0-image")
		checkServing(t, chrootCommand(t, root, uid, gid, program), root, uid)
	})
}

// TestSidecarImage only checks the Dockerfile, because building the sidecar takes
// minutes.
func TestSidecarImage(t *testing.T) {
	daprd := dockerfile(t)["daprd"]
	if daprd == nil {
		t.Fatal("the Dockerfile has no target daprd")
	}
	if len(daprd.all("ENTRYPOINT")) > 0 {
		t.Error("there is an ENTRYPOINT, but Dapr's injector passes /daprd as the first argument")
	}
	if uid, gid := user(t, daprd); uid != nonrootID || gid != nonrootID {
		t.Errorf("it runs as %d:%d, want %d, as Dapr's image does", uid, gid, nonrootID)
	}
	if copies := strings.Join(daprd.all("COPY"), "\n"); !strings.HasSuffix(copies, " /daprd") {
		t.Errorf("the program is not copied to /daprd: %s", copies)
	}
}

// TestSidecarImage_Build runs if MORTISE_TEST_DAPRD is stablecomponents or allcomponents.
func TestSidecarImage_Build(t *testing.T) {
	components := os.Getenv("MORTISE_TEST_DAPRD")
	if components == "" {
		t.Skip("set MORTISE_TEST_DAPRD to stablecomponents or allcomponents; it takes minutes")
	}
	src := t.TempDir()
	buildContext(t, src)
	runSteps(t, dockerfile(t)["build-daprd"], filepath.Join(src, "daprd"), "COMPONENTS="+components)
	program := filepath.Join(src, "bin", "daprd")
	checkStatic(t, program)
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.CommandContext(t.Context(), program, "--version").Output()
	t.Logf("daprd --version is %s, its size %.1f MB", strings.TrimSpace(string(version)), float64(info.Size())/1e6)
	if err != nil || !strings.HasPrefix(string(version), "1.") {
		t.Errorf("daprd --version: %s, %v; want the version of Dapr in go.mod", version, err)
	}
}

// runSteps runs the stage's RUN steps in the folder. The stage's ARGs have their
// defaults, except those in args.
func runSteps(t *testing.T, s *stage, dir string, args ...string) {
	t.Helper()
	for _, command := range s.commands() {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-ec", command)
		cmd.Dir = dir
		cmd.Env = append(append(os.Environ(), s.arguments()...), args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("RUN %s: %v\n%s", command, err, out)
		}
	}
}

// rootFolder returns an empty folder that all users can enter. Its path is short, because
// the paths of sockets must be.
func rootFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// assemble copies what the stage copies from the build, whose working folder is src, into
// root.
func assemble(t *testing.T, s *stage, src, root string, uid, gid int) {
	t.Helper()
	if s.base != "scratch" {
		t.Fatalf("the image is based on %s, want scratch", s.base)
	}
	for _, line := range s.all("COPY") {
		words := strings.Fields(line)
		from, to := words[len(words)-2], filepath.Join(root, words[len(words)-1])
		if rel, ok := strings.CutPrefix(from, workdir+"/"); ok {
			from = filepath.Join(src, rel)
		}
		info, err := os.Stat(from)
		if err != nil {
			t.Fatalf("COPY %s: %v", line, err)
		}
		if !info.IsDir() && strings.HasSuffix(words[len(words)-1], "/") {
			to = filepath.Join(to, filepath.Base(from))
		}
		if err := copyTree(from, to, ".", nil); err != nil {
			t.Fatalf("COPY %s: %v", line, err)
		}
		if strings.Contains(line, "--chown="+strconv.Itoa(uid)+":"+strconv.Itoa(gid)) && os.Getuid() == 0 {
			chown(t, from, to, uid, gid)
		}
	}
}

// chown changes the owner of what was copied to a folder.
func chown(t *testing.T, from, to string, uid, gid int) {
	t.Helper()
	err := filepath.WalkDir(from, func(file string, _ fs.DirEntry, err error) error {
		if err != nil || file == from {
			return err
		}
		rel, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		return os.Lchown(filepath.Join(to, rel), uid, gid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// user returns the uid and gid of the stage's USER.
func user(t *testing.T, s *stage) (uid, gid int) {
	t.Helper()
	u, g, ok := strings.Cut(strings.Join(s.all("USER"), ""), ":")
	uid, uidErr := strconv.Atoi(u)
	gid, gidErr := strconv.Atoi(g)
	if !ok || uidErr != nil || gidErr != nil || uid == 0 || gid == 0 {
		t.Fatalf("USER is %q, want two numbers other than 0, which runAsNonRoot can check", s.all("USER"))
	}
	return uid, gid
}

// entryPoint returns the program that the image runs.
func entryPoint(t *testing.T, s *stage) string {
	t.Helper()
	var words []string
	if err := json.Unmarshal([]byte(strings.Join(s.all("ENTRYPOINT"), "")), &words); err != nil || len(words) != 1 {
		t.Fatalf("ENTRYPOINT is %q, want the program alone: there is no shell", s.all("ENTRYPOINT"))
	}
	return words[0]
}

func checkStatic(t *testing.T, program string) {
	t.Helper()
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			t.Errorf("%s needs an interpreter, which the image does not have", program)
		}
	}
	if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("%s needs libraries %q, %v", program, libraries, err)
	}
	if file.Section(".symtab") != nil || file.Section(".debug_info") != nil || file.Section(".zdebug_info") != nil {
		t.Errorf("%s is not stripped", program)
	}
}

// checkSize logs the image's files and checks their total size.
func checkSize(t *testing.T, root string) {
	t.Helper()
	var total int64
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		t.Logf("%9d bytes %s", info.Size(), strings.TrimPrefix(file, root))
		total += info.Size()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("%9d bytes in all", total); total > maxImage {
		t.Errorf("the image must be at most %[2]d bytes, is %[1]d", total, maxImage)
	}
}

// needRoot skips a test that needs root. In CI it fails the test instead, because a skip
// could go unnoticed there.
func needRoot(t *testing.T) {
	t.Helper()
	const reason = "only root can change a process's root folder and user"
	switch {
	case os.Getuid() == 0:
	case os.Getenv("CI") == "true":
		t.Fatal(reason)
	default:
		t.Skip(reason)
	}
}

// chrootCommand returns a command that runs the program with root as its root folder and
// without environment variables.
func chrootCommand(t *testing.T, root string, uid, gid int, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = "/"
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     root,
		Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
	}
	return cmd
}

func checkVersion(t *testing.T, cmd *exec.Cmd, want string) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("--version: %s, %v; want %s", out, err, want)
	}
}

// checkServing starts the program, acquires a lock through its socket, and stops it like
// Kubernetes.
func checkServing(t *testing.T, cmd *exec.Cmd, root string, uid int) {
	t.Helper()
	stop := start(t, cmd)
	socket := filepath.Join(root, server.DefaultFolder, "mortise.sock")
	useLock(t, socket)
	info, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != uint32(uid) || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket is %d's with mode %v, want %d's with 0660", owner, info.Mode().Perm(), uid)
	}
	t.Logf("memory in use: %s", residentMemory(t, cmd.Process.Pid))
	if err := stop(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// start starts the program. The returned function stops it, waits until it has ended, and
// logs its output. It is called at the end of the test, too.
func start(t *testing.T, cmd *exec.Cmd) (stop func() error) {
	t.Helper()
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceValue(func() error {
		defer func() { t.Logf("output:\n%s", log.String()) }()
		// Wait reports the kill.
		kill := time.AfterFunc(stopTimeout, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		return errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
	})
	t.Cleanup(func() { _ = stop() }) // the first call reports the error
	return stop
}

// useLock waits until the server is healthy, and acquires a lock of a memory store.
func useLock(t *testing.T, socket string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	conn, err := grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// The socket appears a moment after the start.
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	health, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("health: %v, %v", health, err)
	}
	locks := lockpb.NewLockStoreClient(conn)
	if _, err := locks.Init(ctx, &lockpb.LockStoreInitRequest{Metadata: &daprpb.MetadataRequest{}}); err != nil {
		t.Fatal(err)
	}
	answer, err := locks.TryLock(ctx, &lockpb.TryLockRequest{ResourceId: "r", LockOwner: "o", ExpiryInSeconds: 1})
	if err != nil || !answer.GetSuccess() {
		t.Errorf("TryLock: %v, %v", answer, err)
	}
}

// residentMemory returns the process's memory in use, as the kernel reports it.
func residentMemory(t *testing.T, pid int) string {
	t.Helper()
	for line := range strings.Lines(string(read(t, filepath.Join("/proc", strconv.Itoa(pid), "status")))) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
