package cli

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
)

// child is a command that has started. Its methods do os/exec's waiting for a process,
// which does not report stops.
type child struct {
	cmd          *exec.Cmd
	reapsOrphans bool // this process is the parent of orphans, too
}

func (c child) group() group { return group(c.cmd.Process.Pid) }

// waitForChange waits until the command stops or ends. Orphans that end meanwhile are reaped, and
// nothing else would do it.
//
// A process that adopts orphans has no other children whose exit status anything waits
// for, except the guard, whose end is reported to its owner in any case.
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

// awaitGateStop waits until the command stands before its gate.
func (c child) awaitGateStop() error {
	switch status, err := c.waitForChange(); {
	case err != nil:
		return err
	case !status.Stopped():
		return errors.New("it has ended before it could run")
	}
	return nil
}

// wait waits for the end of the command and of its output, and returns its exit code.
// Until ctx ends it sends each signal that has stopped the command.
func (c child) wait(ctx context.Context, stops chan<- syscall.Signal) (code int, err error) {
	for {
		status, err := c.waitForChange()
		if err != nil || status.Exited() || status.Signaled() {
			_ = c.cmd.Wait() // it finds the process gone
			return exitCode(status), err
		}
		select {
		case stops <- status.StopSignal():
		case <-ctx.Done():
		}
	}
}

// exitCode is what a shell says of a command that has ended.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return exitSignal + int(status.Signal())
	}
	return status.ExitStatus()
}
