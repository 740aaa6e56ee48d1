package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// groupPoll is how often we look whether a process group that was told to stop has.
const groupPoll = 20 * time.Millisecond

// outputDelay is how long we go on copying the output of a command that has ended but has left others who write. Files need no
// copying.
const outputDelay = time.Second

// process is a command to run, in a process group of its own, so that whatever it starts can be stopped with it.
type process struct {
	args    []string
	env     []string
	streams Streams
	signals <-chan os.Signal // passed on to the group while it runs
	grace   time.Duration    // between SIGTERM and SIGKILL
}

// run runs the command until it ends, and returns its exit code, or 128 and the number of the signal that ended it. If ctx
// ends before, the group gets SIGTERM, and what is left of it after the grace SIGKILL; none of it is left then.
//
// On Linux the command is killed when we are: it is not to work on without a lock.
func (p process) run(ctx context.Context) (code int, err error) {
	runtime.LockOSThread() // the death that Linux tells the command of is that of the thread which started it
	defer runtime.UnlockOSThread()
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = p.env, p.streams.In, p.streams.Out, p.streams.Err
	cmd.SysProcAttr = attributes()
	cmd.WaitDelay = outputDelay
	if err := cmd.Start(); err != nil {
		return 0, failed(startCode(err), err)
	}
	group := group(cmd.Process.Pid)
	defer lendTerminal(p.streams.In, group)()

	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // ProcessState says how it ended
		close(ended)
	}()
	for {
		select {
		case <-ended:
			return exitCode(cmd.ProcessState), nil
		case s := <-p.signals:
			group.signal(s.(syscall.Signal))
		case <-ctx.Done():
			group.stop(ended, p.grace)
			<-ended
			return exitCode(cmd.ProcessState), nil
		}
	}
}

// startCode is what a shell says of a command that it could not start.
func startCode(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return exitNotFound
	}
	return exitNotExecutable
}

// exitCode is what a shell says of a command that has ended.
func exitCode(state *os.ProcessState) int {
	if status := state.Sys().(syscall.WaitStatus); status.Signaled() {
		return exitSignal + int(status.Signal())
	}
	return state.ExitCode()
}

// group is a process group, by its leader's id.
type group int

func (g group) signal(s syscall.Signal) { _ = syscall.Kill(-int(g), s) } // a group that is gone needs none

// alive tells whether a process of the group is left.
func (g group) alive() bool { return syscall.Kill(-int(g), 0) == nil }

// stop ends the group, its leader included, whose end it is told by ended.
func (g group) stop(ended <-chan struct{}, grace time.Duration) {
	g.signal(syscall.SIGTERM)
	g.signal(syscall.SIGCONT) // what was stopped has to run to end in order
	over := time.NewTimer(grace)
	defer over.Stop()
	poll := time.NewTicker(groupPoll)
	defer poll.Stop()
	for {
		select {
		case <-ended:
			if !g.alive() {
				return
			}
			ended = nil
		case <-poll.C:
			if !g.alive() {
				return
			}
		case <-over.C:
			g.signal(syscall.SIGKILL)
			return
		}
	}
}
