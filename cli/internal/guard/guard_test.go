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

// patience bounds what should take an instant.
const patience = 20 * time.Second

// startGuard starts a guard, which ends with the test.
func startGuard(t *testing.T) *Guard {
	t.Helper()
	g, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Stop)
	return g
}

// victims is a process group of a shell and its child, and ends with the test.
type victims struct {
	*exec.Cmd
	output *bufio.Reader // ends when both have ended
}

func startVictims(t *testing.T) victims {
	t.Helper()
	v := victims{Cmd: exec.Command("sh", "-c", "sleep 1000 & echo begun; wait")}
	v.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := v.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		kill(v.Process.Pid)
		_ = v.Wait()
	})
	v.output = bufio.NewReader(pipe)
	if line, err := v.output.ReadString('\n'); line != "begun\n" {
		t.Fatalf("the group wrote %q, %v", line, err)
	}
	return v
}

// awaitEnd waits until every process of the group has ended.
func (v victims) awaitEnd(t *testing.T) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = v.output.ReadByte()
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the group goes on")
	}
}

// check fails the test if there is an error.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheGroupEndsWithThePipe(t *testing.T) {
	g, v := startGuard(t), startVictims(t)
	check(t, g.Watch(v.Process.Pid))
	check(t, g.Limit(time.Hour))
	check(t, g.pipe.Close()) // as the end of this process would
	v.awaitEnd(t)
}

func TestTheGroupEndsAtTheLimit(t *testing.T) {
	for _, limit := range []time.Duration{50 * time.Millisecond, 0, -time.Hour} {
		t.Run(limit.String(), func(t *testing.T) {
			g, v := startGuard(t), startVictims(t)
			check(t, g.Watch(v.Process.Pid))
			check(t, g.Limit(time.Hour))
			check(t, g.Limit(limit))
			v.awaitEnd(t)
			select {
			case <-g.Ended():
				t.Error("the guard has ended, too")
			default:
			}
		})
	}
}

func TestALaterLimitReplacesTheOneBefore(t *testing.T) {
	g, short, long := startGuard(t), startVictims(t), startVictims(t)
	other := startGuard(t)
	check(t, g.Watch(long.Process.Pid))
	check(t, g.Limit(300*time.Millisecond))
	check(t, g.Limit(time.Hour))
	check(t, other.Watch(short.Process.Pid))
	check(t, other.Limit(600*time.Millisecond)) // so the first limit of g is over when this one is
	short.awaitEnd(t)
	if err := syscall.Kill(long.Process.Pid, 0); err != nil {
		t.Errorf("the group with the later limit has ended: %v", err)
	}
}

func TestStopLeavesTheGroupAlone(t *testing.T) {
	g, v := startGuard(t), startVictims(t)
	check(t, g.Watch(v.Process.Pid))
	g.Stop()
	select {
	case <-g.Ended():
	default:
		t.Error("the guard goes on")
	}
	var status syscall.WaitStatus
	if pid, err := syscall.Wait4(v.Process.Pid, &status, syscall.WNOHANG, nil); pid != 0 || err != nil {
		t.Errorf("the leader has ended: %d, %v, %v", pid, status, err)
	}
}

// The group's number reaches the guard before the pipe breaks, so nothing is left to do
// but to kill.
func TestTheGuardSurvivesEverySignalThatCanBeIgnored(t *testing.T) {
	g, v := startGuard(t), startVictims(t)
	check(t, g.Watch(v.Process.Pid))
	awaitIgnored(t, g.process.Process.Pid)
	for s := syscall.Signal(1); s <= 31; s++ {
		if s != syscall.SIGKILL && s != syscall.SIGSTOP {
			check(t, g.process.Process.Signal(s))
		}
	}
	check(t, g.pipe.Close())
	v.awaitEnd(t)
}

func TestAGuardThatIsKilledIsReported(t *testing.T) {
	g := startGuard(t)
	check(t, g.process.Process.Kill())
	select {
	case <-g.Ended():
	case <-time.After(patience):
		t.Fatal("its end is not reported")
	}
	if err := g.Watch(1 << 20); err == nil {
		t.Error("Watch reports no error")
	}
}

func TestLinesOfThePipe(t *testing.T) {
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
		if group, limit := apply(row.line, 7, time.Minute); group != row.group || limit != row.limit {
			t.Errorf("%q: got %d, %v, want %d, %v", row.line, group, limit, row.group, row.limit)
		}
	}
}

// gate starts a command that stands before its gate.
func gate(t *testing.T, name string, args ...string) (cmd *exec.Cmd, out, errs *bytes.Buffer) {
	t.Helper()
	cmd, err := Command(name, args...)
	check(t, err)
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, errs
	begin(t, cmd)
	return cmd, out, errs
}

// begin starts a command and waits until it stands before its gate.
func begin(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	check(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var status syscall.WaitStatus
	_, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
	check(t, err)
	if !status.Stopped() || status.StopSignal() != syscall.SIGSTOP {
		t.Fatalf("its status is %x, want a stop", status)
	}
}

func TestACommandRunsWhenItIsContinued(t *testing.T) {
	file := t.TempDir() + "/file"
	t.Setenv("FILE", file)
	cmd, out, errs := gate(t, "sh", "-c", `>"$FILE"; echo "$0,$1,$2,$#"; exit 3`, "a", "b c", "")
	if _, err := os.Stat(file); err == nil {
		t.Error("it has run before")
	}
	check(t, cmd.Process.Signal(syscall.SIGCONT))
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 3 || out.String() != "a,b c,,2\n" || errs.Len() > 0 {
		t.Errorf("exit code %d, out %q, err %q", code, out, errs)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestACommandThatDoesNotExist(t *testing.T) {
	if _, err := Command("no-such-command"); err == nil || Code(err) != ExitNotFound {
		t.Errorf("got %v", err)
	}
	file := t.TempDir() + "/file"
	check(t, os.WriteFile(file, nil, 0o600))
	for _, row := range []struct {
		path string
		code int
		err  string
	}{
		{"/no/such", ExitNotFound, "mortise: fork/exec /no/such: no such file or directory\n"},
		{file, ExitNotExecutable, "mortise: fork/exec " + file + ": permission denied\n"},
	} {
		cmd, _, errs := gate(t, row.path)
		check(t, cmd.Process.Signal(syscall.SIGCONT))
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != row.code || errs.String() != row.err {
			t.Errorf("%s: exit code %d, err %q", row.path, code, errs)
		}
	}
}

func TestACommandWhoseParentHasDiedDoesNotRun(t *testing.T) {
	cmd, err := Command("echo", "run")
	check(t, err)
	cmd.Args[1] = "1" // the number of a process that is not its parent
	var out bytes.Buffer
	cmd.Stdout = &out
	begin(t, cmd)
	check(t, cmd.Process.Signal(syscall.SIGCONT))
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code == 0 || out.Len() > 0 {
		t.Errorf("exit code %d, out %q", code, &out)
	}
}
