package cli

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// readPIDs returns the process ids in a file of the test.
func readPIDs(t *testing.T, path string) (pids []int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// pidFile returns a file, $PIDS, to which scripts write the ids of their processes. At
// the end of the test it kills those that still run.
func pidFile(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "pids")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PIDS", path)
	t.Cleanup(func() {
		for _, pid := range readPIDs(t, path) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return path
}

// awaitEnds waits until the processes whose ids a file contains have ended. There must be
// at least one.
func awaitEnds(t *testing.T, path string) {
	t.Helper()
	pids := readPIDs(t, path)
	if len(pids) == 0 {
		t.Fatal("the command has not written its process ids")
	}
	for _, pid := range pids {
		waitFor(t, fmt.Sprintf("the end of %d", pid), func() bool { return !isRunning(t, pid) })
	}
}

// runProgram runs a program and returns its outcome.
func runProgram(t *testing.T, name string, args ...string) result {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return result{err: fmt.Sprintf("%v: %s", err, out), code: exitFailed}
	}
	return result{out: string(out)}
}

// groupScript runs a process, its child and its grandchild in one group, and writes their
// ids to $PIDS.
const groupScript = `sh -c 'sleep 1000 & echo $! $$ >>"$PIDS"; wait' & echo $$ >>"$PIDS"
while [ "$(wc -w <"$PIDS")" -lt 3 ]; do sleep 0.02; done; echo begun; wait`

// ignoringScript is groupScript with processes that ignore signals.
const ignoringScript = `trap "" TERM HUP INT; ` + groupScript

// deathCases are the ways in which this process can end without stopping the command.
var deathCases = []struct {
	name   string
	script string
	os     string // the only operating system of the case, or empty
	die    func(s *server, t *testing.T, p *program)
}{
	{"SIGKILL", groupScript, "", func(_ *server, t *testing.T, p *program) { p.send(t, syscall.SIGKILL) }},
	{"SIGKILL with a command that ignores signals", ignoringScript, "", func(_ *server, t *testing.T, p *program) { p.send(t, syscall.SIGKILL) }},
	{"SIGKILL for its whole group", groupScript, "", func(_ *server, t *testing.T, p *program) {
		if err := syscall.Kill(-p.Process.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}},
	{"a signal that Go does not catch", groupScript, "linux", func(_ *server, t *testing.T, p *program) { p.send(t, 34) }},
	{"SIGKILL during the grace", ignoringScript, "", func(s *server, t *testing.T, p *program) {
		s.run(t, "revoke", "disk", "--force").check(t, "", "", 0)
		waitFor(t, "the lock's end", func() bool { return s.owner(t, "disk") == "" })
		p.send(t, syscall.SIGKILL)
	}},
	{"SIGKILL while it is stopped", groupScript, "", func(_ *server, t *testing.T, p *program) {
		p.send(t, syscall.SIGSTOP)
		p.send(t, syscall.SIGKILL)
	}},
}

func TestLock_ProcessDeathKillsGroup(t *testing.T) {
	for _, row := range deathCases {
		t.Run(row.name, func(t *testing.T) {
			if row.os != "" && row.os != runtime.GOOS {
				t.Skipf("only on %s", row.os)
			}
			s := startServer(t)
			pids := pidFile(t)
			p := s.program(t, testBinary(t), append([]string{"locks"}, lockScript(row.script, "--ttl", "1m", "--grace", "1h")...)...)
			p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			p.begin(t)
			p.awaitOutput(t, "begun")
			row.die(s, t, p)
			awaitEnds(t, pids)
		})
	}
}

// A suspended process cannot stop the command when the lock expires; the guard kills it.
func TestLock_SuspendedProcess(t *testing.T) {
	s := startServer(t)
	pids := pidFile(t)
	p := s.start(t, lockScript(ignoringScript, "--ttl", "500ms", "--grace", "100ms")...)
	p.awaitOutput(t, "begun")
	p.send(t, syscall.SIGSTOP)
	awaitEnds(t, pids)
	p.send(t, syscall.SIGCONT)
	if r := p.result(t); r.code != exitLost || !strings.Contains(r.err, "lock is lost") {
		t.Errorf("got %+v", r)
	}
}

// A renewal also extends the guard's limit.
func TestLock_RenewalExtendsLimit(t *testing.T) {
	t.Parallel() // it waits for the first limit
	s := startServer(t)
	const ttl = 2 * time.Second
	end := filepath.Join(t.TempDir(), "end")
	p := s.program(t, testBinary(t), append([]string{"locks"},
		lockScript(`echo begun; while [ ! -e "$END" ]; do sleep 0.1; done; echo done`, "--ttl", ttl.String(), "--grace", "0")...)...)
	p.Env = append(p.Env, "END="+end)
	p.begin(t)
	p.awaitOutput(t, "begun")
	time.Sleep(ttl + limitSlack + 500*time.Millisecond) // the first limit has passed
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.result(t).check(t, "begun\ndone\n", "", 0)
}

// guardOf returns the process id of the guard of a program.
func guardOf(t *testing.T, p *program) (pid int) {
	t.Helper()
	waitFor(t, "a guard", func() bool {
		out := runProgram(t, "ps", "-A", "-o", "pid=,ppid=,args=").out
		for line := range strings.Lines(out) {
			var parent int
			var name string
			_, err := fmt.Sscan(line, &pid, &parent, &name)
			if err == nil && parent == p.Process.Pid && name == "lock-guard" {
				return true
			}
		}
		return false
	})
	return pid
}

// A command without a guard could outlive the lock, so it is stopped.
func TestLock_GuardKilled(t *testing.T) {
	starts := map[string]func(s *server, t *testing.T, args ...string) *program{"by a process": (*server).start}
	if runtime.GOOS == "linux" { // where the wait for orphans may reap the guard
		starts["by a subreaper"] = (*server).startSubreaper
	}
	for name, start := range starts {
		t.Run(name, func(t *testing.T) {
			s := startServer(t)
			pids := pidFile(t)
			p := start(s, t, lockScript(groupScript)...)
			p.awaitOutput(t, "begun")
			if err := syscall.Kill(guardOf(t, p), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			p.result(t).check(t, "begun\n", "mortise: the guard process has ended; the command was stopped\n", exitFailed)
			awaitEnds(t, pids)
			if owner := s.owner(t, "disk"); owner != "" {
				t.Errorf("the lock is still held by %q", owner)
			}
		})
	}
}

func TestLock_MaxGrace(t *testing.T) {
	s := startServer(t)
	p := s.start(t, lockScript("echo begun; sleep 0.3; echo done", "--grace", time.Duration(math.MaxInt64).String(), "--ttl", "1s")...)
	p.result(t).check(t, "begun\ndone\n", "", 0)
}

// startSubreaper starts "mortise locks" with the arguments as a subreaper.
func (s *server) startSubreaper(t *testing.T, args ...string) *program {
	t.Helper()
	t.Setenv(asSubreaper, "1")
	return s.start(t, args...)
}

// The guard does not keep the standard output open, so that a pipeline ends.
func TestLock_PipelineEnds(t *testing.T) {
	s := startServer(t)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	p := s.program(t, testBinary(t), append([]string{"locks"}, lockScript("echo begun; sleep 1000")...)...)
	p.Stdout = writer
	p.begin(t)
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(reader)
	if line, err := lines.ReadString('\n'); line != "begun\n" {
		t.Fatalf("it wrote %q, %v", line, err)
	}
	p.send(t, syscall.SIGKILL)
	if err := reader.SetReadDeadline(time.Now().Add(waitTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Errorf("the pipe is still open: %v", err)
	}
}

// The command inherits files that a shell opens.
func TestLock_InheritedFiles(t *testing.T) {
	s := startServer(t)
	p := s.program(t, "sh", "-c", `"$0" locks lock disk -- sh -c 'echo three >&3; echo four >&4; echo nine >&9' 3>&1 4>&1 9>&1`, testBinary(t))
	p.begin(t)
	p.result(t).check(t, "three\nfour\nnine\n", "", 0)
}

// send sends the program a signal.
func (p *program) send(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
