package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/mortise-lock/mortise/cli/internal/guard"
)

// resumeDelay is how long a command that was stopped stands still at the least. It bounds
// the pace of one that is stopped again and again.
const resumeDelay = 200 * time.Millisecond

// outputWait is how long we go on copying the output of a command that has ended but has
// left others who write. Files need no copying.
const outputWait = time.Second

// process is a command to run, in a process group of its own, so that whatever it starts
// can be stopped with it.
type process struct {
	args    []string
	env     []string
	streams Streams        // Err takes what the command writes and, at once, what we do
	signals chan os.Signal // passed on to the group while it runs; run lets SIGTSTP come here too, and its caller ends that
	grace   time.Duration  // between SIGTERM and SIGKILL

	expires       func() time.Time // when the lock expires; later after each renewal
	limitInterval time.Duration    // how often the guard is notified of that
}

// run runs the command until it ends, and returns its exit code, or 128 and the number of
// the signal that ended it. If ctx ends before, the group gets SIGTERM, and what is left
// of it after the grace SIGKILL; none of it is left then.
//
// However this process ends, the group ends with it, because a guard watches it from
// before the command's first instruction.
func (p process) run(ctx context.Context) (code int, err error) {
	runtime.LockOSThread() // on Linux the command is also killed when the thread ends that has started it
	defer runtime.UnlockOSThread()
	signal.Notify(p.signals, syscall.SIGTSTP) // from before there is a command, which would go on without us
	watcher, err := guard.Start()
	if err != nil {
		return 0, withExitCode(exitFailed, err)
	}
	defer watcher.Stop()
	child, err := p.start(watcher)
	if err != nil {
		return 0, err
	}
	stops, ended := make(chan syscall.Signal), make(chan struct{})
	go func() {
		defer close(ended)
		code, err = child.wait(ctx, stops)
	}()
	unguarded := p.supervise(ctx, child.group(), watcher, stops, ended)
	<-ended
	if unguarded != nil {
		return 0, withExitCode(exitFailed, unguarded)
	}
	return code, err
}

// start starts the command, and lets it run when the guard watches its group.
func (p process) start(watcher *guard.Guard) (child, error) {
	cmd, err := guard.Command(p.args[0], p.args[1:]...)
	if err != nil {
		return child{}, withExitCode(guard.Code(err), err)
	}
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = p.env, p.streams.In, p.streams.Out, p.streams.Err
	cmd.SysProcAttr = sysProcAttr()
	cmd.WaitDelay = outputWait
	if err := cmd.Start(); err != nil {
		return child{}, withExitCode(guard.Code(err), err)
	}
	c := child{cmd: cmd, reapsOrphans: reapsOrphans()}
	if err := errors.Join(c.awaitGateStop(), watcher.Watch(cmd.Process.Pid), p.limit(watcher)); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return child{}, withExitCode(exitFailed, fmt.Errorf("start %s: %w", p.args[0], err))
	}
	c.group().signal(syscall.SIGCONT)
	return c, nil
}

// limitSlack is how long this process may take to stop the command in order before the
// guard kills it.
const limitSlack = time.Second

// maxGrace bounds the grace in sums, which would overflow with the longest that a flag
// can have.
const maxGrace = 100 * 365 * 24 * time.Hour

// limit makes the guard kill the group when the lock has expired and this process, which
// may be suspended, has not stopped it.
func (p process) limit(watcher *guard.Guard) error {
	return watcher.Limit(time.Until(p.expires()) + min(p.grace, maxGrace) + limitSlack)
}

var errGuardEnded = errors.New("the guard process has ended; the command was stopped")

// supervise handles signals, stops of the group, renewals of the lock and the end of ctx. It
// returns when the command has ended, or has been killed. It fails if the guard has ended
// before.
//
// This process cannot be suspended meanwhile, because the lock would not be renewed.
// Neither can a command that has the terminal: no shell could resume it there.
func (p process) supervise(ctx context.Context, g group, watcher *guard.Guard, stops <-chan syscall.Signal, ended <-chan struct{}) error {
	signal.Ignore(syscall.SIGTTOU, syscall.SIGTTIN) // the command, which has begun, does not
	defer signal.Reset(syscall.SIGTTOU, syscall.SIGTTIN)
	t := newTerminal(p.streams.In, g)
	t.moveToForeground()
	defer t.restoreForeground()
	beat := time.NewTicker(p.limitInterval)
	defer beat.Stop()
	var resume <-chan time.Time // nil unless the command stands still and could get the terminal
	for {
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			g.stop(ended, p.grace)
			return nil
		case <-watcher.Ended():
			g.stop(ended, p.grace)
			return errGuardEnded
		case <-beat.C:
			_ = p.limit(watcher) // if it fails, the guard has ended
		case s := <-p.signals:
			p.forward(s.(syscall.Signal), g, t)
		case s := <-stops:
			if t != nil {
				p.warnOfStop(s, t.childInForeground)
				resume = time.After(resumeDelay)
			}
		case <-resume:
			if resume = nil; !t.moveToForeground() {
				resume = time.After(resumeDelay)
			}
		}
	}
}

const cannotSuspend = "a command that holds a lock cannot be suspended"

// forward sends a signal to the group, unless that is Ctrl-Z for this process.
func (p process) forward(s syscall.Signal, g group, t *terminal) {
	switch {
	case s == syscall.SIGTSTP:
		p.warnf(cannotSuspend)
	case s == syscall.SIGCONT && t.moveToForeground(): // it comes from the fg of a shell
	case isIgnoredByDefault(s):
		g.signal(s)
	default:
		g.signal(s)
		g.signal(syscall.SIGCONT) // a stopped process would receive s only later
	}
}

// warnOfStop tells that a stop will not last, if the command has the terminal, or for
// what the command stands still, if not.
func (p process) warnOfStop(s syscall.Signal, hasTerminal bool) {
	wantsTerminal := s == syscall.SIGTTIN || s == syscall.SIGTTOU
	switch {
	case hasTerminal && !wantsTerminal:
		p.warnf(cannotSuspend)
	case !hasTerminal && wantsTerminal:
		p.warnf("the command holds a lock and waits for the terminal")
	}
}

func (p process) warnf(text string) { fmt.Fprintln(p.streams.Err, "mortise:", text) }
