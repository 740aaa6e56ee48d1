package cli

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/test/inprocess"
)

// asProgram, when set, makes the test binary run the program: tests of signals and exit
// codes need a process.
const asProgram = "MORTISE_TEST_PROGRAM"

// asSubreaper, when set, too, makes that program reap its orphans, as if it were process
// 1.
const asSubreaper = "MORTISE_TEST_SUBREAPER"

// targetVariable names the target of that program.
const targetVariable = "MORTISE_TEST_TARGET"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		if os.Getenv(asSubreaper) != "" {
			becomeSubreaper()
		}
		os.Exit(Run(context.Background(), os.Args[1:], Defaults{Target: os.Getenv(targetVariable)}, OSStreams()))
	}
	os.Exit(m.Run())
}

// noExitDelay is an environment variable that turns off the sleep of a second at the exit
// of programs that are built with -race.
const noExitDelay = "GORACE=atexit_sleep_ms=0"

// waitTimeout bounds waits for events that usually happen immediately.
const waitTimeout = 20 * time.Second

// server is a Mortise with a memory store, in this process, until the end of the test or
// Stop.
type server struct {
	folder string
	token  string // in the environment of the commands that run starts
	*client.Client
	Stop func()
}

func startServer(t *testing.T, options ...func(*inprocess.Config)) *server {
	t.Helper()
	folder, err := os.MkdirTemp("", "cli") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return startServerIn(t, folder, options...)
}

func startServerIn(t *testing.T, folder string, options ...func(*inprocess.Config)) *server {
	t.Helper()
	config := inprocess.Config{Folder: folder}
	for _, option := range options {
		option(&config)
	}
	s := &server{folder: folder}
	s.Stop = inprocess.Start(t, config)
	var err error
	if s.Client, err = client.Dial(s.target()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// target returns the address of the server's socket.
func (s *server) target() string { return "unix://" + filepath.Join(s.folder, "mortise.sock") }

// defaults returns the defaults of the flags that find the server.
func (s *server) defaults() Defaults {
	return Defaults{Target: s.target(), TokenVariable: "MORTISE_API_TOKEN", Token: s.token}
}

// lock acquires a lock for the test, with fixed metadata.
func (s *server) lock(t *testing.T, key string, options ...client.Option) *client.Lease {
	t.Helper()
	options = append([]client.Option{client.Metadata(map[string]string{"host": "alpha"})}, options...)
	lease, err := s.TryLock(t.Context(), key, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lease.Unlock(context.Background()) })
	return lease
}

// owner returns the owner of a lock, or "".
func (s *server) owner(t *testing.T, key string) string {
	t.Helper()
	locks, err := s.List(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range locks {
		if l.Key == key {
			return l.Owner
		}
	}
	return ""
}

// result is the outcome of a command.
type result struct {
	out, err string
	code     int
}

// run runs "mortise locks" with the arguments in this process.
func (s *server) run(t *testing.T, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	var out, errs bytes.Buffer
	code := Run(ctx, append([]string{"locks"}, args...), s.defaults(), Streams{nil, &out, &errs})
	return result{out.String(), errs.String(), code}
}

// program is "mortise locks" in a separate process.
type program struct {
	*exec.Cmd
	out, err *os.File
	ended    chan struct{}
}

// start starts "mortise locks" with the arguments.
func (s *server) start(t *testing.T, args ...string) *program {
	t.Helper()
	p := s.program(t, testBinary(t), append([]string{"locks"}, args...)...)
	p.begin(t)
	return p
}

// program returns a program that is configured for the server and has not started.
func (s *server) program(t *testing.T, name string, args ...string) *program {
	t.Helper()
	p := &program{Cmd: exec.Command(name, args...), out: tempFile(t), err: tempFile(t), ended: make(chan struct{})}
	p.Env = append(os.Environ(), asProgram+"=1", targetVariable+"="+s.target(), noExitDelay)
	p.Stdout, p.Stderr = p.out, p.err
	return p
}

// testBinary returns the path of the test binary.
func testBinary(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// begin starts the program, and kills it at the end of the test.
func (p *program) begin(t *testing.T) {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
	})
}

// result waits for the end of the program.
func (p *program) result(t *testing.T) result {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(waitTimeout):
		t.Fatalf("%v still runs; it wrote %q, %q", p.Args, readFile(t, p.out), readFile(t, p.err))
	}
	return result{readFile(t, p.out), readFile(t, p.err), p.ProcessState.ExitCode()}
}

// awaitOutput waits until the program has written the text to standard output.
func (p *program) awaitOutput(t *testing.T, text string) {
	t.Helper()
	waitFor(t, text, func() bool { return strings.Contains(readFile(t, p.out), text) })
}

func tempFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "stream")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func readFile(t *testing.T, f *os.File) string {
	t.Helper()
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// waitFor waits until the condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout; waited for: %s", what)
		}
	}
}

// check compares the outcome; err is the prefix of standard error.
func (r result) check(t *testing.T, out, err string, code int) {
	t.Helper()
	if r.out != out || !strings.HasPrefix(r.err, err) || (err == "") != (r.err == "") || r.code != code {
		t.Errorf("got  %d, out %q, err %q\nwant %d, out %q, err %q", r.code, r.out, r.err, code, out, err)
	}
}
