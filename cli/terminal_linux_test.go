package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a pseudoterminal: of the person and of programs.
func openTerminal(t *testing.T) (person, programs *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudoterminal: %v", err)
	}
	t.Cleanup(func() { _ = person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	programs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = programs.Close() })
	return person, programs
}

// onTerminal starts a program in a separate session with the terminal.
func (p *program) onTerminal(t *testing.T, terminal *os.File) {
	t.Helper()
	p.Stdin = terminal
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.begin(t)
	p.awaitOutput(t, "begun")
}

// The command reads from the terminal while it runs, and afterwards the shell does.
func TestTerminal_Read(t *testing.T) {
	s := startServer(t)
	person, programs := openTerminal(t)
	const script = `"$0" locks lock disk -- sh -c 'echo begun; read a; echo "the command read $a"'; read b; echo "the shell read $b"`
	p := s.program(t, "sh", "-c", script, testBinary(t))
	p.onTerminal(t, programs)
	for i, said := range []string{"the command read line 0", "the shell read line 1"} {
		if _, err := fmt.Fprintln(person, "line", i); err != nil {
			t.Fatal(err)
		}
		p.awaitOutput(t, said)
	}
	p.result(t).check(t, "begun\nthe command read line 0\nthe shell read line 1\n", "", 0)
}

// Ctrl-C interrupts the command.
func TestTerminal_CtrlC(t *testing.T) {
	unignoreSignals(t)
	s := startServer(t)
	person, programs := openTerminal(t)
	script := `trap 'echo interrupted; exit 6' INT; echo begun; while :; do sleep 0.02; done`
	p := s.program(t, testBinary(t), append([]string{"locks"}, lockScript(script)...)...)
	p.onTerminal(t, programs)
	if _, err := person.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	p.result(t).check(t, "begun\ninterrupted\n", "", 6)
}

// cannotSuspendLine is the message after Ctrl-Z.
const cannotSuspendLine = "mortise: a command that holds a lock cannot be suspended\n"

// awaitErrorOutput waits until the program has written the text to standard error.
func (p *program) awaitErrorOutput(t *testing.T, text string) {
	t.Helper()
	waitFor(t, text, func() bool { return strings.Contains(readFile(t, p.err), text) })
}

// typeText types text on the terminal.
func typeText(t *testing.T, person *os.File, text string) {
	t.Helper()
	if _, err := person.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// awaitStop waits until the process whose id the program has written is stopped.
func (p *program) awaitStop(t *testing.T) {
	t.Helper()
	waitFor(t, "the stop", func() bool {
		pid, _, _ := strings.Cut(readFile(t, p.out), "\n")
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		return err == nil && strings.Contains(string(stat), ") T ")
	})
}

// A suspended command would keep the lock and the terminal.
func TestTerminal_CtrlZ(t *testing.T) {
	s := startServer(t)
	person, programs := openTerminal(t)
	p := s.program(t, testBinary(t), append([]string{"locks"}, lockScript(`echo begun; read a; echo "$a"`)...)...)
	p.onTerminal(t, programs)
	typeText(t, person, "\x1a")
	p.awaitErrorOutput(t, cannotSuspendLine)
	typeText(t, person, "go on\n")
	p.result(t).check(t, "begun\ngo on\n", cannotSuspendLine, 0)
}

func TestTerminal_RepeatedStops(t *testing.T) {
	s := startServer(t)
	person, programs := openTerminal(t)
	const script = `echo begun; read a; for s in STOP TTIN TTOU; do kill -$s $$; done; echo done`
	p := s.program(t, testBinary(t), append([]string{"locks"}, lockScript(script)...)...)
	p.onTerminal(t, programs)
	begun := time.Now()
	typeText(t, person, "\n") // the command reads it when it is in the foreground
	p.result(t).check(t, "begun\ndone\n", cannotSuspendLine, 0)
	if took := time.Since(begun); took < 3*resumeDelay {
		t.Errorf("it took %v", took)
	}
}

// A suspended process would not renew the lock, and the command would continue without
// it. Here Ctrl-Z reaches this process, as the command does not read from the terminal.
func TestTerminal_CtrlZInOwnGroup(t *testing.T) {
	s := startServer(t)
	person, programs := openTerminal(t)
	end := filepath.Join(t.TempDir(), "end")
	t.Setenv("END", end)
	const script = `set -m
"$0" locks lock disk -- sh -c 'echo begun; while [ ! -e "$END" ]; do sleep 0.02; done' </dev/null
echo "the shell: $?"`
	p := s.program(t, "sh", "-c", script, testBinary(t))
	p.onTerminal(t, programs)
	typeText(t, person, "\x1a")
	p.awaitErrorOutput(t, cannotSuspendLine)
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.result(t).check(t, "begun\nthe shell: 0\n", cannotSuspendLine, 0)
}

// A background command that reads from the terminal waits for the shell's fg.
func TestTerminal_Foreground(t *testing.T) {
	s := startServer(t)
	person, programs := openTerminal(t)
	const script = `set -m
"$0" locks lock disk -- sh -c 'read a; echo "the command read $a"' &
echo begun; read b; echo "the shell read $b"; fg >/dev/null`
	p := s.program(t, "sh", "-c", script, testBinary(t))
	p.onTerminal(t, programs)
	p.awaitErrorOutput(t, "mortise: the command holds a lock and waits for the terminal\n")
	typeText(t, person, "line 0\n")
	p.awaitOutput(t, "the shell read line 0")
	typeText(t, person, "line 1\n")
	p.result(t).check(t, "begun\nthe shell read line 0\nthe command read line 1\n", "mortise: the command holds a lock", 0)
}

// A stopped command would handle a signal only when it continues, so forwarding continues
// it.
func TestLock_SignalReachesStoppedCommand(t *testing.T) {
	s := startServer(t)
	p := s.start(t, lockScript(`trap 'echo ended; exit 5' TERM; echo $$; kill -STOP $$; while :; do sleep 0.02; done`)...)
	p.awaitStop(t)
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := p.result(t); !strings.HasSuffix(r.out, "\nended\n") || r.code != 5 {
		t.Errorf("got %+v", r)
	}
}
