package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/mortise-lock/mortise/client"
)

// lockScript returns the arguments that run a script under the lock "disk".
func lockScript(script string, flags ...string) []string {
	return append(append([]string{"lock", "disk"}, flags...), "--", "sh", "-c", script)
}

func TestLock_ExitCode(t *testing.T) {
	s := startServer(t)
	for _, row := range []struct {
		name string
		args []string
		out  string
		err  string
		code int
	}{
		{"success", lockScript("echo out; echo err >&2"), "out\n", "err\n", 0},
		{"failure", lockScript("exit 3"), "", "", 3},
		{"a code that this program uses, too", lockScript("exit 75"), "", "", 75},
		{"killed by a signal", lockScript("kill -KILL $$"), "", "", 128 + 9},
		{"no such command", []string{"lock", "disk", "--", "no-such-command"}, "", `mortise: exec: "no-such-command": executable file not found`, exitNotFound},
		{"no such path", []string{"lock", "disk", "--", "/no/such"}, "", "mortise: fork/exec /no/such: no such file", exitNotFound},
		{"not executable", []string{"lock", "disk", "--", "/"}, "", "mortise: ", exitNotExecutable},
		{"flags of the command", []string{"lock", "disk", "--", "echo", "--try", "-n", "--"}, "--try -n --\n", "", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.run(t, row.args...).check(t, row.out, row.err, row.code)
			if owner := s.owner(t, "disk"); owner != "" {
				t.Errorf("the lock is still held by %q", owner)
			}
		})
	}
}

func TestLock_Environment(t *testing.T) {
	s := startServer(t)
	before := s.lock(t, "other").Token()
	r := s.run(t, lockScript(`echo "$MORTISE_KEY"; echo "$MORTISE_TOKEN"`)...)
	key, text, _ := strings.Cut(strings.TrimSpace(r.out), "\n")
	token, err := strconv.ParseUint(text, 10, 64)
	if after := s.lock(t, "disk").Token(); key != "disk" || err != nil || token <= before || token >= after {
		t.Errorf("key %q, token %q; it is between %d and %d", key, text, before, after)
	}
}

func TestLock_Renewal(t *testing.T) {
	s := startServer(t)
	end := filepath.Join(t.TempDir(), "end")
	t.Setenv("END", end)
	p := s.start(t, lockScript(`echo begun; while [ ! -e "$END" ]; do sleep 0.02; done`, "--ttl", "600ms")...)
	p.awaitOutput(t, "begun")
	get := func() client.LockInfo {
		locks, err := s.List(t.Context(), "disk")
		if err != nil || len(locks) != 1 {
			t.Fatalf("%v, %v", locks, err)
		}
		return locks[0]
	}
	first := get()
	host, _ := os.Hostname()
	if got, want := fmt.Sprint(first.Metadata), fmt.Sprintf("map[command:sh host:%s pid:%d]", host, p.Process.Pid); got != want {
		t.Errorf("the metadata is %s, want %s", got, want)
	}
	for left := first.Remaining; ; {
		now := get()
		if now.Token != first.Token {
			t.Fatal("the token has changed")
		}
		if now.Remaining > left {
			break
		}
		left = now.Remaining
	}
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.result(t).check(t, "begun\n", "", 0)
}

func TestLock_Held(t *testing.T) {
	for _, row := range []struct {
		name  string
		flags []string
		code  int
	}{
		{"is not waited for", []string{"--try"}, exitConflict},
		{"is not waited for, with short flags", []string{"-n", "-E", "9"}, 9},
		{"is not released in time", []string{"--wait", "30ms"}, exitConflict},
		{"is not released in time, with short flags", []string{"-w", "30ms", "--conflict-exit-code", "0"}, 0},
		{"is not waited for, with a time of 0", []string{"--wait", "0"}, exitConflict},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := startServer(t)
			s.lock(t, "disk")
			s.run(t, lockScript("echo run", row.flags...)...).check(t, "", `mortise: lock "disk": lock is held`, row.code)
		})
	}
}

func TestLock_Wait(t *testing.T) {
	for _, flags := range [][]string{nil, {"--wait", "1h"}} {
		s := startServer(t)
		lease := s.lock(t, "disk")
		p := s.start(t, lockScript("echo run", flags...)...)
		waitFor(t, "a waiter", func() bool { return s.waiters(t, "disk") == 1 })
		if err := lease.Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.result(t).check(t, "run\n", "", 0)
	}
}

func TestLock_SeveralKeys(t *testing.T) {
	s := startServer(t)
	args := []string{"lock", "--try", "b", "a", "b", "--", "sh", "-c", `echo "$MORTISE_KEY"`}
	s.run(t, args...).check(t, "a\nb\n", "", 0)
	held := s.lock(t, "b")
	s.run(t, args...).check(t, "", `mortise: lock all ["b" "a" "b"]: lock is held`, exitConflict)
	if owner := s.owner(t, "a"); owner != "" {
		t.Errorf("the lock of a is held by %q", owner)
	}
	if err := held.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.run(t, args...).check(t, "a\nb\n", "", 0)
}

func TestLock_LostStopsGroup(t *testing.T) {
	for _, row := range []struct {
		name   string
		grace  string
		script string // writes "begun", and all process ids to $PIDS
	}{
		{"all end by SIGTERM", "1h", `sleep 1000 & echo $$ $! >"$PIDS"; echo begun; wait`},
		{"the child ignores SIGTERM", "200ms", `sh -c 'trap "" TERM; echo trapped; while :; do sleep 1; done' & echo $$ $! >"$PIDS"; echo begun; wait`},
		{"all ignore SIGTERM", "200ms", `trap "" TERM; sleep 1000 & echo $$ $! >"$PIDS"; echo begun; trapped; wait; wait; sleep 1000`},
		{"the command is stopped", "1h", `sleep 1000 & echo $$ $! >"$PIDS"; echo begun; kill -STOP $$; wait`},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := startServer(t)
			pids := pidFile(t)
			p := s.start(t, lockScript(row.script, "--ttl", "600ms", "--grace", row.grace)...)
			p.awaitOutput(t, "begun")
			if strings.Contains(row.script, "trapped; while") {
				p.awaitOutput(t, "trapped")
			}
			s.run(t, "revoke", "disk", "--force").check(t, "", "", 0)
			r := p.result(t)
			if r.code != exitLost || !strings.Contains(r.err, "lock is lost") {
				t.Errorf("got %+v", r)
			}
			awaitEnds(t, pids)
		})
	}
}

func TestLock_LostGracefulExit(t *testing.T) {
	s := startServer(t)
	p := s.start(t, lockScript(`trap 'echo ending; exit 0' TERM; echo begun; while :; do sleep 0.02; done`, "--ttl", "600ms", "--grace", "1h")...)
	p.awaitOutput(t, "begun")
	s.run(t, "revoke", "disk", "--force").check(t, "", "", 0)
	if r := p.result(t); r.out != "begun\nending\n" || r.code != exitLost {
		t.Errorf("got %+v", r)
	}
}

func TestLock_SignalEndsCommand(t *testing.T) {
	s := startServer(t)
	p := s.start(t, lockScript("echo begun; sleep 1000")...)
	p.awaitOutput(t, "begun")
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.result(t).check(t, "begun\n", "", 128+15)
	if owner := s.owner(t, "disk"); owner != "" {
		t.Errorf("the lock is still held by %q", owner)
	}
}

func TestLock_SignalEndsWait(t *testing.T) {
	unignoreSignals(t)
	s := startServer(t)
	lease := s.lock(t, "disk")
	p := s.start(t, lockScript("echo run")...)
	waitFor(t, "a waiter", func() bool { return s.waiters(t, "disk") == 1 })
	if err := p.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	p.result(t).check(t, "", `mortise: lock "disk": context canceled`, 128+2)
	waitFor(t, "no waiter", func() bool { return s.waiters(t, "disk") == 0 })
	if err := lease.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestLock_CanceledContext(t *testing.T) {
	s := startServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := tempFile(t)
	done := make(chan int)
	go func() {
		done <- Run(ctx, append([]string{"locks"}, lockScript("echo begun; sleep 1000")...), s.defaults(), Streams{nil, out, out})
	}()
	waitFor(t, "the command", func() bool { return readFile(t, out) == "begun\n" })
	cancel()
	if code := <-done; code != 128+15 {
		t.Errorf("the exit code is %d", code)
	}
	if owner := s.owner(t, "disk"); owner != "" {
		t.Errorf("the lock is still held by %q", owner)
	}
}

func TestLock_UnlockFails(t *testing.T) {
	t.Parallel() // Unlock retries for five seconds
	s := startServer(t)
	end := filepath.Join(t.TempDir(), "end")
	p := s.program(t, testBinary(t), append([]string{"locks"},
		lockScript(`echo begun; while [ ! -e "$END" ]; do sleep 0.02; done; exit 4`, "--ttl", "1h")...)...)
	p.Env = append(p.Env, "END="+end)
	p.begin(t)
	p.awaitOutput(t, "begun")
	s.Stop()
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.result(t).check(t, "begun\n", "mortise: the lock may last for the rest of its TTL of 1h0m0s: ", 4)
}

func TestLock_Usage(t *testing.T) {
	s := startServer(t)
	for _, row := range []struct {
		name string
		args []string
		err  string
	}{
		{"no separator", []string{"disk", "true"}, `mortise: "--" is required between the keys and the command`},
		{"no key", []string{"--", "true"}, "mortise: at least one key is required"},
		{"no command", []string{"disk", "--"}, "mortise: a command is required"},
		{"no arguments", nil, `mortise: "--" is required`},
		{"an empty key", []string{"", "--", "true"}, "mortise: "},
		{"a key that is too long", []string{strings.Repeat("k", 1025), "--", "true"}, "mortise: "},
		{"a key that is not UTF-8", []string{"k\xff", "--", "true"}, "mortise: "},
		{"try and wait", []string{"-n", "-w", "1s", "disk", "--", "true"}, "mortise: --try and --wait"},
		{"a negative wait", []string{"-w", "-1s", "disk", "--", "true"}, "mortise: --wait"},
		{"a wait without a unit", []string{"-w", "5", "disk", "--", "true"}, "mortise: invalid argument"},
		{"no ttl", []string{"--ttl", "0", "disk", "--", "true"}, "mortise: --ttl"},
		{"an endless ttl", []string{"--ttl", "999999h", "disk", "--", "true"}, "mortise: "},
		{"a negative grace", []string{"--grace", "-1s", "disk", "--", "true"}, "mortise: --grace"},
		{"an invalid code", []string{"-E", "256", "disk", "--", "true"}, "mortise: --conflict-exit-code"},
		{"an unknown flag", []string{"--nope", "disk", "--", "true"}, "mortise: unknown flag: --nope"},
		{"a flag of other commands", []string{"-o", "json", "disk", "--", "true"}, "mortise: unknown shorthand flag"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.run(t, append([]string{"lock"}, row.args...)...).check(t, "", row.err, exitUsage)
		})
	}
}

// waiters returns the number of waiters for the lock.
func (s *server) waiters(t *testing.T, key string) int {
	t.Helper()
	locks, err := s.List(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(locks) == 0 {
		return 0
	}
	return locks[0].Waiters
}

// isRunning reports whether the process runs and is not a zombie.
func isRunning(t *testing.T, pid int) bool {
	t.Helper()
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return os.IsPermission(err)
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}
