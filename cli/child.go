package cli

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
)

// child is a command that has started. Its methods wait for the process instead of
// os/exec, which does not report stops.
type child struct {
	cmd          *exec.Cmd
	reapsOrphans bool // orphans become children of this process
}

func (c child) group() group { return group(c.cmd.Process.Pid) }

// waitForChange waits until the command stops or ends. It also reaps orphans, which no
// other code does.
//
// Waiting for any child is safe: the only other child is the guard, whose end is detected
// without its status.
func (c child) waitForChange() (status syscall.WaitStatus, err error) {
	which := c.cmd.Process.Pid
	if c.reapsOrphans {
		which = -1
	}
	for {
		pid, err := syscall.Wait4(which, &status, syscall.WUNTRACED, nil)
		if pid == c.cmd.Process.Pid || err != nil && !errors.Is(err, syscall.EINTR) {
			return status, err
		}
	}
}

// awaitGateStop waits until the gate (see package guard) has stopped itself.
func (c child) awaitGateStop() error {
	switch status, err := c.waitForChange(); {
	case err != nil:
		return err
	case !status.Stopped():
		return errors.New("the process ended before the command could run")
	}
	return nil
}

// wait waits for the end of the command and of its output, and returns the exit code.
// Until ctx ends it sends each signal that has stopped the command to stops.
func (c child) wait(ctx context.Context, stops chan<- syscall.Signal) (code int, err error) {
	for {
		status, err := c.waitForChange()
		if err != nil || status.Exited() || status.Signaled() {
			_ = c.cmd.Wait() // the process is reaped already; this waits for the output
			return exitCode(status), err
		}
		select {
		case stops <- status.StopSignal():
		case <-ctx.Done():
		}
	}
}

// exitCode returns the exit code as a shell reports it.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return exitSignal + int(status.Signal())
	}
	return status.ExitStatus()
}
