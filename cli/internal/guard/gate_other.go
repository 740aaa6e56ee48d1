//go:build !linux

package guard

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// selfCommand returns a command that runs this program's executable under another name.
func selfCommand(name string, args ...string) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(path, args...)
	cmd.Args[0] = name
	return cmd, nil
}

// stopSelf stops the process.
func stopSelf() error { return syscall.Kill(os.Getpid(), syscall.SIGSTOP) }

// resetSignals makes the command ignore SIGQUIT in the background. Other signals that
// arrive before the program runs act as on a Go program.
func resetSignals() {
	if InBackground() {
		signal.Ignore(syscall.SIGQUIT)
	}
}
