package cli

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// unignoreSignals makes programs that the test starts handle SIGHUP and SIGINT, even if
// the tests were started with them ignored.
func unignoreSignals(t *testing.T) {
	t.Helper()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT)
	t.Cleanup(func() { signal.Stop(signals) })
}

// ignoredSignalCases has a row for each signal that nohup or a shell's "&" makes a
// program ignore.
var ignoredSignalCases = []struct {
	signal syscall.Signal
	trap   string // makes a shell ignore the signal and those that go with it
}{
	{syscall.SIGHUP, `trap "" HUP`},
	{syscall.SIGINT, `trap "" INT QUIT`},
	{syscall.SIGQUIT, `trap "" INT QUIT`},
}

// startIgnoring starts "mortise locks" with the arguments from a shell with a trap.
func (s *server) startIgnoring(t *testing.T, trap string, args ...string) *program {
	t.Helper()
	p := s.program(t, "sh", append([]string{"-c", trap + `; exec "$0" locks "$@"`, testBinary(t)}, args...)...)
	p.begin(t)
	return p
}

func TestLock_IgnoredSignals(t *testing.T) {
	for _, row := range ignoredSignalCases {
		t.Run(row.signal.String(), func(t *testing.T) {
			s := startServer(t)
			end := filepath.Join(t.TempDir(), "end")
			t.Setenv("END", end)
			script := fmt.Sprintf(`echo begun; while [ ! -e "$END" ]; do sleep 0.02; done; kill -%d $$; echo done`, row.signal)
			p := s.startIgnoring(t, row.trap, lockScript(script)...)
			p.awaitOutput(t, "begun")
			if err := p.Process.Signal(row.signal); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(end, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			p.result(t).check(t, "begun\ndone\n", "", 0)
		})
	}
}

func TestLock_IgnoredSignalsWhileWaiting(t *testing.T) {
	for _, row := range ignoredSignalCases {
		t.Run(row.signal.String(), func(t *testing.T) {
			s := startServer(t)
			lease := s.lock(t, "disk")
			p := s.startIgnoring(t, row.trap, lockScript("echo run")...)
			waitFor(t, "a waiter", func() bool { return s.waiters(t, "disk") == 1 })
			if err := p.Process.Signal(row.signal); err != nil {
				t.Fatal(err)
			}
			if err := lease.Unlock(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.result(t).check(t, "run\n", "", 0)
		})
	}
}

func TestLock_ForwardsSignals(t *testing.T) {
	unignoreSignals(t)
	s := startServer(t)
	end := filepath.Join(t.TempDir(), "end")
	t.Setenv("END", end)
	var script strings.Builder
	for _, signal := range forwarded() {
		fmt.Fprintf(&script, "trap 'echo got %d.' %d; ", signal, signal)
	}
	script.WriteString(`echo begun; while [ ! -e "$END" ]; do sleep 0.02; done 2>/dev/null; exit 5`)
	p := s.start(t, lockScript(script.String())...)
	p.awaitOutput(t, "begun")
	p.send(t, syscall.SIGCONT) // sent after most of the others, too
	p.awaitOutput(t, fmt.Sprintf("got %d.\n", syscall.SIGCONT))
	for _, signal := range forwarded() {
		t.Run(fmt.Sprint(int(signal), " ", signal), func(t *testing.T) {
			p.send(t, signal)
			p.awaitOutput(t, fmt.Sprintf("got %d.\n", signal))
		})
	}
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := p.result(t); r.code != 5 {
		t.Errorf("got %+v", r)
	}
}

// Signals that are not forwarded suspend neither this process, which holds a lock, nor
// the command, and SIGPIPE ends neither.
func TestLock_SignalsNotForwarded(t *testing.T) {
	s := startServer(t)
	end := filepath.Join(t.TempDir(), "end")
	t.Setenv("END", end)
	const script = `trap 'echo got it' USR1; trap 'echo got another' URG PROF PIPE TSTP TTIN TTOU
echo begun; while [ ! -e "$END" ]; do sleep 0.02; done; exit 5`
	p := s.start(t, lockScript(script)...)
	p.awaitOutput(t, "begun")
	for _, signal := range notForwarded {
		if signal != syscall.SIGKILL && signal != syscall.SIGSTOP && signal < 32 {
			p.send(t, signal)
		}
	}
	waitFor(t, cannotSuspend, func() bool { return strings.Contains(readFile(t, p.err), cannotSuspend) })
	p.send(t, syscall.SIGUSR1)
	p.awaitOutput(t, "got it")
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.result(t).check(t, "begun\ngot it\n", "mortise: "+cannotSuspend+"\n", 5)
}

// A change of the window's size, for example, does not end the wait.
func TestLock_HarmlessSignalsWhileWaiting(t *testing.T) {
	s := startServer(t)
	lease := s.lock(t, "disk")
	p := s.start(t, lockScript("echo run")...)
	waitFor(t, "a waiter", func() bool { return s.waiters(t, "disk") == 1 })
	for _, signal := range append(ignoredByDefault, syscall.SIGPIPE) {
		p.send(t, signal)
	}
	if err := lease.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.result(t).check(t, "run\n", "", 0)
}

func TestLock_FatalSignalsWhileWaiting(t *testing.T) {
	unignoreSignals(t)
	s := startServer(t)
	s.lock(t, "disk")
	signals := []syscall.Signal{
		syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGALRM, syscall.SIGABRT, syscall.SIGSEGV,
	}
	if lastSignal > 31 {
		signals = append(signals, 35, lastSignal)
	}
	for _, signal := range signals {
		t.Run(signal.String(), func(t *testing.T) {
			p := s.start(t, lockScript("echo run")...)
			waitFor(t, "a waiter", func() bool { return s.waiters(t, "disk") == 1 })
			p.send(t, signal)
			p.result(t).check(t, "", `mortise: lock "disk": context canceled`, exitSignal+int(signal))
			waitFor(t, "no waiter", func() bool { return s.waiters(t, "disk") == 0 })
		})
	}
}
