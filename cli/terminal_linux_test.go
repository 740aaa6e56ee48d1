package cli

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a terminal: who sits before it, and the programs.
func openTerminal(t *testing.T) (person, programs *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no terminals: %v", err)
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

// onTerminal lets a program begin in a session of its own that has the terminal.
func (p *program) onTerminal(t *testing.T, terminal *os.File) {
	t.Helper()
	p.Stdin = terminal
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.begin(t)
	p.says(t, "begun")
}

// A command reads from the terminal while it runs, and the shell that has started us afterwards.
func TestTheCommandHasTheTerminal(t *testing.T) {
	s := startServer(t)
	person, programs := openTerminal(t)
	const script = `"$0" locks lock door -- sh -c 'echo begun; read a; echo "the command read $a"'; read b; echo "the shell read $b"`
	p := s.program(t, "sh", "-c", script, binary(t))
	p.onTerminal(t, programs)
	for i, said := range []string{"the command read line 0", "the shell read line 1"} {
		if _, err := fmt.Fprintln(person, "line", i); err != nil {
			t.Fatal(err)
		}
		p.says(t, said)
	}
	p.result(t).check(t, "begun\nthe command read line 0\nthe shell read line 1\n", "", 0)
}

// Who types Ctrl-C means the command.
func TestCtrlCIsForTheCommand(t *testing.T) {
	s := startServer(t)
	person, programs := openTerminal(t)
	script := `trap 'echo interrupted; exit 6' INT; echo begun; while :; do read line; done`
	p := s.program(t, binary(t), append([]string{"locks"}, sh(script)...)...)
	p.onTerminal(t, programs)
	if _, err := person.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	p.result(t).check(t, "begun\ninterrupted\n", "", 6)
}
