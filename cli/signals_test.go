package cli

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
)

// heedSignals lets programs that the test starts heed what whoever runs the tests may have them ignore.
func heedSignals(t *testing.T) {
	t.Helper()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT)
	t.Cleanup(func() { signal.Stop(signals) })
}

// ignoring has a row for each signal that nohup, or a shell for what it runs in the background, lets a program ignore.
var ignoring = []struct {
	signal syscall.Signal
	trap   string // which has a shell ignore it and what is ignored with it
}{
	{syscall.SIGHUP, `trap "" HUP`},
	{syscall.SIGINT, `trap "" INT QUIT`},
	{syscall.SIGQUIT, `trap "" INT QUIT`},
}

// startIgnoring starts "mortise locks" and the arguments from a shell that has set a trap.
func (s *server) startIgnoring(t *testing.T, trap string, args ...string) *program {
	t.Helper()
	p := s.program(t, "sh", append([]string{"-c", trap + `; exec "$0" locks "$@"`, binary(t)}, args...)...)
	p.begin(t)
	return p
}

func TestWhatIsIgnoredStaysSoForTheCommandToo(t *testing.T) {
	for _, row := range ignoring {
		t.Run(row.signal.String(), func(t *testing.T) {
			s := startServer(t)
			end := filepath.Join(t.TempDir(), "end")
			t.Setenv("END", end)
			script := fmt.Sprintf(`echo begun; while [ ! -e "$END" ]; do sleep 0.02; done; kill -%d $$; echo done`, row.signal)
			p := s.startIgnoring(t, row.trap, sh(script)...)
			p.says(t, "begun")
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

func TestWhatIsIgnoredDoesNotEndTheWaiting(t *testing.T) {
	for _, row := range ignoring {
		t.Run(row.signal.String(), func(t *testing.T) {
			s := startServer(t)
			lease := s.lock(t, "door")
			p := s.startIgnoring(t, row.trap, sh("echo run")...)
			await(t, "a waiter", func() bool { return s.waiters(t, "door") == 1 })
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
