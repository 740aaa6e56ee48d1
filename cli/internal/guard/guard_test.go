package guard

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// waitTimeout bounds waits for events that usually happen immediately.
const waitTimeout = 20 * time.Second

// startGuard starts a guard, and stops it at the end of the test.
func startGuard(t *testing.T) *Guard {
	t.Helper()
	g, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Stop)
	return g
}

// processGroup is a process group of a shell and its child.
type processGroup struct {
	*exec.Cmd
	output *bufio.Reader // EOF when both have ended
}

func startProcessGroup(t *testing.T) processGroup {
	t.Helper()
	v := processGroup{Cmd: exec.Command("sh", "-c", "sleep 1000 & echo begun; wait")}
	v.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := v.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		killGroup(v.Process.Pid)
		_ = v.Wait()
	})
	v.output = bufio.NewReader(pipe)
	if line, err := v.output.ReadString('\n'); line != "begun\n" {
		t.Fatalf("the group wrote %q, %v", line, err)
	}
	return v
}

// awaitEnd waits until every process of the group has ended.
func (v processGroup) awaitEnd(t *testing.T) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = v.output.ReadByte()
	}()
	select {
	case <-ended:
	case <-time.After(waitTimeout):
		t.Fatal("the group still runs")
	}
}

// fatalIf fails the test if err is not nil.
func fatalIf(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestGuard_PipeBreaks(t *testing.T) {
	g, v := startGuard(t), startProcessGroup(t)
	fatalIf(t, g.Watch(v.Process.Pid))
	fatalIf(t, g.Limit(time.Hour))
	fatalIf(t, g.pipe.Close()) // as the end of this process would
	v.awaitEnd(t)
}

func TestGuard_Limit(t *testing.T) {
	for _, limit := range []time.Duration{50 * time.Millisecond, 0, -time.Hour} {
		t.Run(limit.String(), func(t *testing.T) {
			g, v := startGuard(t), startProcessGroup(t)
			fatalIf(t, g.Watch(v.Process.Pid))
			fatalIf(t, g.Limit(time.Hour))
			fatalIf(t, g.Limit(limit))
			v.awaitEnd(t)
			select {
			case <-g.Ended():
				t.Error("the guard must not end at the limit")
			default:
			}
		})
	}
}

func TestGuard_LimitReplaced(t *testing.T) {
	g, short, long := startGuard(t), startProcessGroup(t), startProcessGroup(t)
	other := startGuard(t)
	fatalIf(t, g.Watch(long.Process.Pid))
	fatalIf(t, g.Limit(300*time.Millisecond))
	fatalIf(t, g.Limit(time.Hour))
	fatalIf(t, other.Watch(short.Process.Pid))
	fatalIf(t, other.Limit(600*time.Millisecond)) // after the first limit of g
	short.awaitEnd(t)
	if err := syscall.Kill(long.Process.Pid, 0); err != nil {
		t.Errorf("the group with the later limit has ended: %v", err)
	}
}

func TestGuard_Stop(t *testing.T) {
	g, v := startGuard(t), startProcessGroup(t)
	fatalIf(t, g.Watch(v.Process.Pid))
	g.Stop()
	select {
	case <-g.Ended():
	default:
		t.Error("the guard still runs")
	}
	var status syscall.WaitStatus
	if pid, err := syscall.Wait4(v.Process.Pid, &status, syscall.WNOHANG, nil); pid != 0 || err != nil {
		t.Errorf("the leader has ended: %d, %v, %v", pid, status, err)
	}
}

// Only the end of the pipe ends the guard, which kills the group.
func TestGuard_IgnoresSignals(t *testing.T) {
	g, v := startGuard(t), startProcessGroup(t)
	fatalIf(t, g.Watch(v.Process.Pid))
	awaitIgnored(t, g.process.Process.Pid)
	for s := syscall.Signal(1); s <= 31; s++ {
		if s != syscall.SIGKILL && s != syscall.SIGSTOP {
			fatalIf(t, g.process.Process.Signal(s))
		}
	}
	fatalIf(t, g.pipe.Close())
	v.awaitEnd(t)
}

func TestGuard_Ended(t *testing.T) {
	g := startGuard(t)
	fatalIf(t, g.process.Process.Kill())
	select {
	case <-g.Ended():
	case <-time.After(waitTimeout):
		t.Fatal("Ended is not closed")
	}
	if err := g.Watch(1 << 20); err == nil {
		t.Error("Watch reports no error")
	}
}

func TestParseLine(t *testing.T) {
	for _, row := range []struct {
		line  string
		group int
		limit time.Duration
	}{
		{"group 12", 12, time.Minute},
		{"limit 1.5s", 7, 1500 * time.Millisecond},
		{"limit -3s", 7, 1},
		{"", 7, time.Minute},
		{"gr", 7, time.Minute},
	} {
		if group, limit := parseLine(row.line, 7, time.Minute); group != row.group || limit != row.limit {
			t.Errorf("%q: got %d, %v, want %d, %v", row.line, group, limit, row.group, row.limit)
		}
	}
}

// startGate starts a command and waits until its gate has stopped.
func startGate(t *testing.T, name string, args ...string) (cmd *exec.Cmd, out, errs *bytes.Buffer) {
	t.Helper()
	cmd, err := Command(name, args...)
	fatalIf(t, err)
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, errs
	startAndAwaitStop(t, cmd)
	return cmd, out, errs
}

// startAndAwaitStop starts a command and waits until its gate has stopped.
func startAndAwaitStop(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	fatalIf(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var status syscall.WaitStatus
	_, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
	fatalIf(t, err)
	if !status.Stopped() || status.StopSignal() != syscall.SIGSTOP {
		t.Fatalf("its status is %x, want a stop", status)
	}
}

func TestCommand(t *testing.T) {
	file := t.TempDir() + "/file"
	t.Setenv("FILE", file)
	cmd, out, errs := startGate(t, "sh", "-c", `>"$FILE"; echo "$0,$1,$2,$#"; exit 3`, "a", "b c", "")
	if _, err := os.Stat(file); err == nil {
		t.Error("the command ran before SIGCONT")
	}
	fatalIf(t, cmd.Process.Signal(syscall.SIGCONT))
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 3 || out.String() != "a,b c,,2\n" || errs.Len() > 0 {
		t.Errorf("exit code %d, out %q, err %q", code, out, errs)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestCommand_Error(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0") // or gates with -race sleep at their exit
	if _, err := Command("no-such-command"); err == nil || Code(err) != ExitNotFound {
		t.Errorf("got %v", err)
	}
	file := t.TempDir() + "/file"
	fatalIf(t, os.WriteFile(file, nil, 0o600))
	for _, row := range []struct {
		path string
		code int
		err  string
	}{
		{"/no/such", ExitNotFound, "mortise: fork/exec /no/such: no such file or directory\n"},
		{file, ExitNotExecutable, "mortise: fork/exec " + file + ": permission denied\n"},
	} {
		cmd, _, errs := startGate(t, row.path)
		fatalIf(t, cmd.Process.Signal(syscall.SIGCONT))
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != row.code || errs.String() != row.err {
			t.Errorf("%s: exit code %d, err %q", row.path, code, errs)
		}
	}
}

func TestCommand_ParentDied(t *testing.T) {
	cmd, err := Command("echo", "run")
	fatalIf(t, err)
	cmd.Args[1] = "1" // the id of a process that is not the parent
	var out bytes.Buffer
	cmd.Stdout = &out
	startAndAwaitStop(t, cmd)
	fatalIf(t, cmd.Process.Signal(syscall.SIGCONT))
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code == 0 || out.Len() > 0 {
		t.Errorf("exit code %d, out %q", code, &out)
	}
}
