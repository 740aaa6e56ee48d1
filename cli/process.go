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

// resumeDelay is how long a stopped command stays stopped before it is resumed. It bounds
// the rate of a command that stops repeatedly.
const resumeDelay = 200 * time.Millisecond

// outputWait is how long the output is copied after the command has ended, if other
// processes still have it open. Files are not copied.
const outputWait = time.Second

// process is a command in a separate process group, so that all processes that the
// command starts can be stopped with it.
type process struct {
	args    []string
	env     []string
	streams Streams // Err must be safe for concurrent use
	// signals are forwarded to the group. run adds SIGTSTP to the signals of this
	// channel, and the caller stops them all.
	signals chan os.Signal
	grace   time.Duration // between SIGTERM and SIGKILL

	expires       func() time.Time // when the lock expires; later after each renewal
	limitInterval time.Duration    // how often the guard's limit is updated
}

// run runs the command until it ends, and returns its exit code, or 128 plus the number
// of the signal that ended it. If ctx ends before, the group gets SIGTERM, and after the
// grace period SIGKILL; then all its processes have ended.
//
// However this process ends, the group ends with it, because a guard watches it from
// before the command's first instruction.
func (p process) run(ctx context.Context) (code int, err error) {
	runtime.LockOSThread() // on Linux the end of the starting thread kills the command
	defer runtime.UnlockOSThread()
	// Without a handler, Ctrl-Z would suspend this process but not the command.
	signal.Notify(p.signals, syscall.SIGTSTP)
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

// start starts the command, and continues it when the guard watches its group.
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
		return child{}, withExitCode(exitFailed, fmt.Errorf("start %q: %w", p.args[0], err))
	}
	c.group().signal(syscall.SIGCONT)
	return c, nil
}

// limitSlack is the time that this process has to stop the command before the guard kills
// it.
const limitSlack = time.Second

// maxGrace bounds the grace period, so that sums with it do not overflow.
const maxGrace = 100 * 365 * 24 * time.Hour

// limit makes the guard kill the group after the lock has expired, in case this process
// is suspended and cannot stop it.
func (p process) limit(watcher *guard.Guard) error {
	return watcher.Limit(time.Until(p.expires()) + min(p.grace, maxGrace) + limitSlack)
}

var errGuardEnded = errors.New("the guard process has ended; the command was stopped")

// supervise handles signals, stops of the group, renewals of the lock and the end of ctx.
// It returns when the command has ended or has been killed. It fails if the guard has
// ended before.
//
// This process cannot be suspended meanwhile, because the lock would not be renewed. Nor
// can a command in the foreground, because no shell could resume it.
func (p process) supervise(ctx context.Context, g group, watcher *guard.Guard, stops <-chan syscall.Signal, ended <-chan struct{}) error {
	signal.Ignore(syscall.SIGTTOU, syscall.SIGTTIN) // the command does not inherit this
	defer signal.Reset(syscall.SIGTTOU, syscall.SIGTTIN)
	t := newTerminal(p.streams.In, g)
	t.moveToForeground()
	defer t.restoreForeground()
	beat := time.NewTicker(p.limitInterval)
	defer beat.Stop()
	var resume <-chan time.Time // nil unless the command is stopped and has a terminal
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

// forward sends a signal to the group, except Ctrl-Z for this process.
func (p process) forward(s syscall.Signal, g group, t *terminal) {
	switch {
	case s == syscall.SIGTSTP:
		p.warnf(cannotSuspend)
	case s == syscall.SIGCONT && t.moveToForeground(): // from the shell's fg
	case isIgnoredByDefault(s):
		g.signal(s)
	default:
		g.signal(s)
		g.signal(syscall.SIGCONT) // a stopped process handles s only when it continues
	}
}

// warnOfStop reports that the command is stopped: in the foreground, that it will be
// continued; in the background, that it waits for the terminal.
func (p process) warnOfStop(s syscall.Signal, hasTerminal bool) {
	wantsTerminal := s == syscall.SIGTTIN || s == syscall.SIGTTOU
	switch {
	case hasTerminal && !wantsTerminal:
		p.warnf(cannotSuspend)
	case !hasTerminal && wantsTerminal:
		p.warnf("the command holds a lock and waits for the terminal")
	}
}

func (p process) warnf(format string, args ...any) {
	fmt.Fprintf(p.streams.Err, "mortise: "+format+"\n", args...)
}
