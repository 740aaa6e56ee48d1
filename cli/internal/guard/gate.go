package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
)

// Exit codes of a gate that could not run the program, as in a shell.
const (
	ExitNotExecutable = 126 // the command could not be started
	ExitNotFound      = 127 // the command does not exist
)

// Command is like [exec.Command], but the command stops itself (SIGSTOP) when it has
// started, and runs the program when it gets SIGCONT. If its parent has died meanwhile,
// it ends without running the program. If the program cannot be run, the command writes
// the error to its standard error, and exits with one of the codes above.
func Command(name string, args ...string) (*exec.Cmd, error) {
	program := exec.Command(name, args...)
	if program.Err != nil {
		return nil, program.Err
	}
	return selfCommand(gateName, append([]string{strconv.Itoa(os.Getpid()), program.Path, name}, args...)...)
}

// runGate runs the gate. Its arguments are the id of the parent process, the path of the
// program, and the program's name and arguments.
func runGate(args []string) (code int) {
	if len(args) < 3 {
		return ExitNotExecutable
	}
	parent, path, command := args[0], args[1], args[2:]
	resetSignals()
	if err := stopSelf(); err != nil || strconv.Itoa(os.Getppid()) != parent {
		return ExitNotExecutable
	}
	err := syscall.Exec(path, command, os.Environ())
	fmt.Fprintln(os.Stderr, "mortise:", &fs.PathError{Op: "fork/exec", Path: path, Err: err})
	return Code(err)
}

// Code returns the exit code for the error of a command that could not be started.
func Code(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return ExitNotFound
	}
	return ExitNotExecutable
}

// InBackground reports whether this process was started with SIGINT ignored. Shells start
// background processes that way, with SIGQUIT ignored, too, which Go does not report.
func InBackground() bool { return signal.Ignored(syscall.SIGINT) }
