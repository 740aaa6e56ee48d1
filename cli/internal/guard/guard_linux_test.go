package guard

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// awaitIgnored waits until the process ignores SIGTERM.
func awaitIgnored(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); ; time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		fatalIf(t, err)
		_, after, _ := strings.Cut(string(text), "SigIgn:\t")
		word, _, _ := strings.Cut(after, "\n")
		mask, err := strconv.ParseUint(word, 16, 64)
		fatalIf(t, err)
		if mask&(1<<(syscall.SIGUSR2-1)) != 0 && mask&(1<<(64-1)) != 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the mask of ignored signals is %s", word)
		}
	}
}

// A guard that inherited the standard streams would keep pipelines open.
func TestGuard_InheritsNothing(t *testing.T) {
	g := startGuard(t)
	folder := fmt.Sprintf("/proc/%d/", g.process.Process.Pid)
	for _, row := range []struct{ link, want string }{
		{"fd/0", "/dev/null"}, {"fd/1", "/dev/null"}, {"fd/2", "/dev/null"}, {"cwd", "/"},
	} {
		if got, err := os.Readlink(folder + row.link); got != row.want || err != nil {
			t.Errorf("%s is %q, %v", row.link, got, err)
		}
	}
	if session, err := syscall.Getpgid(g.process.Process.Pid); session != g.process.Process.Pid || err != nil {
		t.Errorf("its group is %d, %v", session, err)
	}
}

// A signal before SIGCONT has its default effect on the command.
func TestCommand_SignalBeforeGate(t *testing.T) {
	signals := make(chan os.Signal, 1)
	// The command handles these even if nohup or "&" made the tests ignore them.
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT)
	t.Cleanup(func() { signal.Stop(signals) })
	for s := syscall.Signal(1); s <= 64; s++ {
		switch s {
		case syscall.SIGKILL, syscall.SIGCONT, syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, 32, 33, 34:
			continue
		}
		t.Run(fmt.Sprint(int(s)), func(t *testing.T) {
			t.Parallel()
			cmd, out, errs := startGate(t, "echo", "run")
			fatalIf(t, cmd.Process.Signal(s))
			fatalIf(t, cmd.Process.Signal(syscall.SIGCONT))
			_ = cmd.Wait()
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			harmless := s == syscall.SIGCHLD || s == syscall.SIGURG || s == syscall.SIGWINCH
			if harmless != (out.String() == "run\n") || !harmless && status.Signal() != s || errs.Len() > 0 {
				t.Errorf("it ended with %v, out %q, err %q", cmd.ProcessState, out, errs)
			}
		})
	}
}
