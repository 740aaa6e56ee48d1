package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// groupPoll is how often we look whether a process group that was told to stop has.
const groupPoll = 20 * time.Millisecond

// resumeDelay is how long a command that was stopped stands still at the least. It bounds the pace of one that is stopped again
// and again.
const resumeDelay = 200 * time.Millisecond

// outputDelay is how long we go on copying the output of a command that has ended but has left others who write. Files need no
// copying.
const outputDelay = time.Second

// process is a command to run, in a process group of its own, so that whatever it starts can be stopped with it.
type process struct {
	args    []string
	env     []string
	streams Streams        // Err takes what the command writes and, at once, what we do
	signals chan os.Signal // passed on to the group while it runs; run lets SIGTSTP come here too, and its caller ends that
	grace   time.Duration  // between SIGTERM and SIGKILL
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
	signal.Notify(p.signals, syscall.SIGTSTP) // from before there is a command, which would go on without us
	if err := cmd.Start(); err != nil {
		return 0, failed(startCode(err), err)
	}
	stops, ended := make(chan syscall.Signal), make(chan struct{})
	go func() {
		defer close(ended)
		code, err = wait(ctx, cmd, stops)
	}()
	p.attend(ctx, group(cmd.Process.Pid), stops, ended)
	<-ended
	return code, err
}

// attend deals with what happens to the group: signals, stops and the end of ctx. It returns when the command has ended, or has
// been told to for the last time.
//
// We cannot be suspended meanwhile, as nobody would renew the lock. Neither can a command that has the terminal: from there
// nobody could reach it, nor a shell.
func (p process) attend(ctx context.Context, g group, stops <-chan syscall.Signal, ended <-chan struct{}) {
	signal.Ignore(syscall.SIGTTOU) // the command, which has begun, does not
	defer signal.Reset(syscall.SIGTTOU)
	t := newTerminal(p.streams.In, g)
	if t != nil {
		t.lend()
		defer t.takeBack()
	}
	var resume <-chan time.Time // nil unless the command stands still and could get the terminal
	for {
		select {
		case <-ended:
			return
		case <-ctx.Done():
			g.stop(ended, p.grace)
			return
		case s := <-p.signals:
			p.passOn(s.(syscall.Signal), g)
		case s := <-stops:
			if t != nil {
				p.tellOfStop(s, t.lent)
				resume = time.After(resumeDelay)
			}
		case <-resume:
			if resume = nil; !t.lend() {
				resume = time.After(resumeDelay)
			}
		}
	}
}

const cannotSuspend = "a command that holds a lock cannot be suspended"

// passOn lets the group have a signal, unless that is Ctrl-Z for us.
func (p process) passOn(s syscall.Signal, g group) {
	if s == syscall.SIGTSTP {
		p.say(cannotSuspend)
		return
	}
	g.signal(s)
	g.signal(syscall.SIGCONT) // what is stopped would hear of it later only
}

// tellOfStop tells that a stop will not last, if the command has the terminal, or for what the command stands still, if not.
func (p process) tellOfStop(s syscall.Signal, hasTerminal bool) {
	wantsTerminal := s == syscall.SIGTTIN || s == syscall.SIGTTOU
	switch {
	case hasTerminal && !wantsTerminal:
		p.say(cannotSuspend)
	case !hasTerminal && wantsTerminal:
		p.say("the command holds a lock and waits for the terminal")
	}
}

func (p process) say(text string) { fmt.Fprintln(p.streams.Err, "mortise:", text) }

// wait waits for the end of the command and of its output, and returns its exit code. Until ctx ends it tells of each signal that
// has stopped the command. It does os/exec's waiting for a process, as that is not told of stops.
func wait(ctx context.Context, cmd *exec.Cmd, stops chan<- syscall.Signal) (code int, err error) {
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil || status.Exited() || status.Signaled():
			_ = cmd.Wait() // it finds the process gone
			return exitCode(status), err
		default:
			select {
			case stops <- status.StopSignal():
			case <-ctx.Done():
			}
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
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return exitSignal + int(status.Signal())
	}
	return status.ExitStatus()
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
