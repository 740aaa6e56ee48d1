package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mortise-lock/mortise/client"
)

// nestedArgs returns arguments of "mortise locks" that run it within itself. Each level
// has the flags and keys of one "locks lock".
func nestedArgs(t *testing.T, levels ...string) []string {
	t.Helper()
	var args []string
	for i, level := range levels {
		if i > 0 {
			args = append(args, testBinary(t), "locks")
		}
		args = append(append(append(args, "lock"), strings.Fields(level)...), "--")
	}
	return append(args, "echo", "run")
}

func TestLock_Deadlock(t *testing.T) {
	const deadlock = "waiting would be a deadlock"
	for _, row := range []struct {
		name   string
		levels []string
		err    string // empty if the command runs
		code   int
	}{
		{"the same key", []string{"nest", "nest"}, deadlock, exitFailed},
		{"with --wait", []string{"nest", "--wait 1h nest"}, deadlock, exitFailed},
		{"with an exit code for conflicts", []string{"nest", "-E 9 nest"}, deadlock, exitFailed},
		{"without waiting", []string{"nest", "--try nest"}, "lock is held", exitConflict},
		{"without waiting, with a code", []string{"nest", "--try -E 9 nest"}, "lock is held", 9},
		{"with --wait 0", []string{"nest", "--wait 0 nest"}, "lock is held", exitConflict},
		{"two levels below", []string{"a", "b", "a"}, deadlock, exitFailed},
		{"three levels below", []string{"a", "b", "c", "a"}, deadlock, exitFailed},
		{"the one in the middle", []string{"a", "b", "c", "b"}, deadlock, exitFailed},
		{"one of several outside", []string{"a b", "b"}, deadlock, exitFailed},
		{"one of several inside", []string{"a", "b a"}, deadlock, exitFailed},
		{"one of several on both sides", []string{"a b", "c", "d b"}, deadlock, exitFailed},
		{"several without waiting", []string{"a", "--try b a"}, "lock is held", exitConflict},
		{"other keys", []string{"a", "b", "c d"}, "", exitSuccess},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := startServer(t)
			r := s.start(t, nestedArgs(t, row.levels...)...).result(t)
			if r.code != row.code || !strings.Contains(r.err, row.err) || (r.err == "") != (row.err == "") {
				t.Errorf("got %+v, want %d, %q", r, row.code, row.err)
			}
		})
	}
}

// A command waits for a lock whose holder waits for the command's lock.
func TestLock_CircularDeadlock(t *testing.T) {
	s := startServer(t)
	b := s.lock(t, "b")
	p := s.start(t, nestedArgs(t, "a", "b")...)
	waitFor(t, "a waiter", func() bool { return s.waiters(t, "b") == 1 })
	if _, err := s.Lock(b.Context(), "a"); !errors.Is(err, client.ErrDeadlock) {
		t.Errorf("got %v, want ErrDeadlock", err)
	}
	if err := b.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.result(t).check(t, "run\n", "", 0)
}

// Waiting for a lock that a sibling holds is not a deadlock.
func TestLock_SiblingsWait(t *testing.T) {
	s := startServer(t)
	end := filepath.Join(t.TempDir(), "end")
	t.Setenv("END", end)
	t.Setenv("MORTISE", testBinary(t))
	const script = `"$MORTISE" locks lock b -- sh -c 'echo first; while [ ! -e "$END" ]; do sleep 0.02; done' &
while ! "$MORTISE" locks get b >/dev/null 2>&1; do sleep 0.02; done; "$MORTISE" locks lock b -- echo second; wait`
	p := s.start(t, lockScript(script)...)
	waitFor(t, "a waiter", func() bool { return s.waiters(t, "b") == 1 })
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.result(t).check(t, "first\nsecond\n", "", 0)
}

func TestLock_HoldingVariable(t *testing.T) {
	s := startServer(t)
	t.Setenv(client.HoldingVariable, "outermost")
	p := s.start(t, "lock", "a", "--", testBinary(t), "locks", "lock", "b", "--", "sh", "-c",
		`"$0" locks get a -o json; "$0" locks get b -o json; echo "holding $MORTISE_HOLDING"`, testBinary(t))
	r := p.result(t)
	var owners []string
	for _, part := range strings.Split(r.out, `"owner"`)[1:] {
		owners = append(owners, strings.Split(part, `"`)[1])
	}
	if len(owners) != 2 || !strings.Contains(r.out, "holding "+owners[1]+","+owners[0]+",outermost\n") {
		t.Errorf("owners %q, got %+v", owners, r)
	}
}
