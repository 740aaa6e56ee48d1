// A running program, and helpers that wait for its output.
package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// secret is the password of every Redis that has one. No output and no error may contain
// it.
const secret = "swordfish-9f2c"

// waitTimeout is the time limit of operations that should take a moment.
const waitTimeout = 15 * time.Second

// process is a program that the test has started. It is killed when the test ends, and
// its output is printed if the test failed.
type process struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	output output
	ended  chan struct{}
	err    error // the error of Wait; valid when ended is closed
}

// start starts a program with additional environment variables.
func start(t testing.TB, name, path string, variables []string, args ...string) *process {
	t.Helper()
	return startAs(t, nil, name, path, variables, args...)
}

// startAs is start with the credential of another user, unless user is nil.
func startAs(t testing.TB, user *syscall.Credential, name, path string, variables []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), variables...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		output := p.output.String()
		if strings.Contains(output, secret) {
			t.Errorf("%s printed the password", name)
		}
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, output)
		}
	})
	return p
}

// kill ends the process with SIGKILL, as a crash would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}

// terminate sends SIGTERM to the process and returns its exit code.
func (p *process) terminate() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	return p.exitCode()
}

// exitCode waits until the process ends, and returns its exit code.
func (p *process) exitCode() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(waitTimeout):
		p.t.Fatalf("%s did not end within %v", p.name, waitTimeout)
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		p.t.Fatalf("%s: %v", p.name, p.err)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// line returns the first line of the output that contains every one of the texts, or "".
func (p *process) line(texts ...string) string {
	for line := range strings.Lines(p.output.String()) {
		if containsAll(line, texts) {
			return line
		}
	}
	return ""
}

// checkLine returns an error unless a line of the output contains every one of the texts.
func (p *process) checkLine(texts ...string) error {
	if p.line(texts...) == "" {
		return fmt.Errorf("%s printed no line with %q", p.name, texts)
	}
	return nil
}

// awaitLine waits until a line of the output contains every one of the texts.
func (p *process) awaitLine(texts ...string) {
	p.t.Helper()
	eventually(p.t, "output of "+p.name, func() error { return p.checkLine(texts...) })
}

func containsAll(s string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(s, text) {
			return false
		}
	}
	return true
}

// output collects the output of a process. It is safe for concurrent use.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

// String returns everything written so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// eventually calls check until it returns nil, and fails the test after waitTimeout.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); ; time.Sleep(20 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, waitTimeout, err)
		}
	}
}
