package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func becomeSubreaper() {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
}

// orphanParents start "mortise locks" with the arguments as a process whose children
// orphans become.
var orphanParents = []struct {
	name  string
	start func(s *server, t *testing.T, args ...string) *program
}{
	{"process 1 of a container", func(s *server, t *testing.T, args ...string) *program {
		unshare := []string{"--pid", "--fork", "--kill-child", "--mount-proc"}
		if os.Getuid() != 0 {
			unshare = append(unshare, "--user", "--map-root-user")
		}
		needUnshare(t, unshare)
		p := s.program(t, "unshare", append(append(unshare, testBinary(t), "locks"), args...)...)
		p.begin(t)
		return p
	}},
	{"a subreaper", (*server).startSubreaper},
}

// needUnshare skips the test where PID namespaces cannot be created, except in CI.
func needUnshare(t *testing.T, flags []string) {
	t.Helper()
	r := runProgram(t, "unshare", append(flags, "true")...)
	switch {
	case r.code == 0:
	case os.Getenv("CI") != "":
		t.Fatalf("unshare %q must work in CI: %s", flags, r.err)
	default:
		t.Skipf("unshare %q does not work here: %s", flags, r.err)
	}
}

func TestLock_ReapsOrphans(t *testing.T) {
	for _, row := range orphanParents {
		t.Run(row.name, func(t *testing.T) {
			s := startServer(t)
			t.Setenv("PID", filepath.Join(t.TempDir(), "pid"))
			const script = `sh -c 'true & echo $! >"$PID"'; read orphan <"$PID"; while [ -e /proc/$orphan ]; do sleep 0.02; done; exit 3`
			row.start(s, t, lockScript(script)...).result(t).check(t, "", "", 3)
		})
	}
}

// When the leader has ended, only zombies of the group are left, so the end of the grace
// period, an hour, is not awaited.
func TestLock_LostIgnoresZombies(t *testing.T) {
	const orphan = `trap 'exit 0' TERM; sh -c 'sleep 1000 &'; echo begun; while :; do sleep 0.02; done`
	for _, row := range orphanParents {
		t.Run(row.name, func(t *testing.T) {
			s := startServer(t)
			s.revokeAndAwaitExit(t, row.start(s, t, lockScript(orphan, "--ttl", "600ms", "--grace", "1h")...))
		})
	}
	t.Run("of a parent that does not wait", func(t *testing.T) {
		s := startServer(t)
		pidFile(t)
		const script = `(sleep 1000 & exec setsid sh -c 'echo $$ >"$PIDS"; echo begun; exec sleep 1000') & trap 'exit 0' TERM; wait`
		p := s.start(t, lockScript(script, "--ttl", "600ms", "--grace", "1h")...)
		p.awaitOutput(t, "begun")
		s.revokeAndAwaitExit(t, p)
	})
}

// revokeAndAwaitExit revokes the lock of a program, and waits for the program's end.
func (s *server) revokeAndAwaitExit(t *testing.T, p *program) {
	t.Helper()
	p.awaitOutput(t, "begun")
	s.run(t, "revoke", "disk", "--force").check(t, "", "", 0)
	if r := p.result(t); r.code != exitLost || !strings.Contains(r.err, "lock is lost") {
		t.Errorf("got %+v", r)
	}
}

func TestParseStat(t *testing.T) {
	for _, row := range []struct {
		line  string
		state string
		group group
	}{
		{"12 (sh) S 1 10 9 0 -1", "S", 10},
		{"12 (a) Z 7 7) Z 1 10 9 0 -1", "Z", 10},
		{"", "", 0},
	} {
		if state, g := parseStat([]byte(row.line)); state != row.state || g != row.group {
			t.Errorf("%q: got %q, %d", row.line, state, g)
		}
	}
	self, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	if state, g := parseStat(self); state == "" || g != group(unix.Getpgrp()) {
		t.Errorf("this process: got %q, %d", state, g)
	}
}
