package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mortise-lock/mortise/client"
)

const lockHelp = `Run COMMAND while holding the lock of KEY, or the locks of several keys, which are acquired atomically.

Waiting is first come, first served. The lock is renewed while COMMAND runs. COMMAND's environment has
  MORTISE_KEY      the key, or the keys, one per line
  MORTISE_TOKEN    the fencing token, for a resource that rejects tokens smaller than the largest it has seen
  MORTISE_HOLDING  the owners of this lock and of the locks that this process runs under, separated by commas; with them a
                   "mortise locks lock" or a Go client below COMMAND that would wait for one of these locks reports a deadlock

Signals: COMMAND runs in a separate process group. That group gets every signal that this process gets, including real-time
signals, except
  SIGKILL, SIGSTOP           which cannot be caught
  SIGTSTP, SIGTTIN, SIGTTOU  because a command that holds a lock cannot be suspended, with Ctrl-Z or otherwise
  SIGPIPE                    which also reports that the connection to Mortise has broken
  SIGCHLD, SIGURG, SIGPROF   which this process uses
  32, 33, 34 (SIGRTMIN)      which the Go runtime does not catch
SIGHUP and SIGINT stay ignored if they were ignored at the start, as with nohup; SIGQUIT does if SIGINT was. While this process
waits for the lock, a signal ends it as it ends any program, and the lock is not acquired; SIGWINCH and other signals without
an effect by default do not.

When the lock is lost, the whole group gets SIGTERM, and after the grace period SIGKILL. Until then another owner may already
hold the lock; only a resource that checks the token is safe from that.

If this process dies without stopping COMMAND, for example by SIGKILL, another process, "lock-guard", immediately kills the
whole group; the lock expires with its TTL. The guard also kills the group if this process is suspended, by SIGSTOP, until the
lock has expired and the grace period and a second have passed. If the guard is killed, COMMAND is stopped. Processes that have
left the group, for example with setsid, or that run as another user are not stopped. All of this holds on Linux and macOS; on
Linux COMMAND dies with this process even if the guard is killed at the same time.

The exit code is COMMAND's, 128 plus the number of the signal that ended COMMAND or the wait, or
   69  Mortise did not respond; COMMAND was not run
   70  waiting would be a deadlock, because this process runs below a command that holds the lock, or that the lock's holder
       waits for; COMMAND was not run
   75  the lock was not acquired within --wait (see --conflict-exit-code); COMMAND was not run
   76  the lock was lost while COMMAND ran
  126  COMMAND could not be started
  127  COMMAND does not exist
and 2, 70 and 77 as with the other commands.`

// lockCommand is one run of "locks lock".
type lockCommand struct {
	target   *target
	ttl      time.Duration
	wait     time.Duration
	hasWait  bool // wait limits the time to wait
	try      bool
	conflict int
	grace    time.Duration

	keys    []string
	args    []string // the command
	streams Streams
	signals chan os.Signal
}

func newLock(t *target) *cobra.Command {
	l := &lockCommand{target: t}
	cmd := &cobra.Command{
		Use:     "lock [flags] KEY... -- COMMAND [ARGUMENT...]",
		Short:   "run a command while holding a lock",
		Long:    lockHelp,
		Example: "  mortise locks lock --wait 1m backup -- pg_dump --file shop.sql shop",
		RunE: func(cmd *cobra.Command, args []string) error {
			l.hasWait = cmd.Flags().Changed("wait")
			l.streams = streams(cmd)
			if err := l.parse(args, cmd.ArgsLenAtDash()); err != nil {
				return withExitCode(exitUsage, err)
			}
			return l.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&l.ttl, "ttl", client.DefaultTTL, "TTL of the lock, which expires this long after the last renewal")
	flags.DurationVarP(&l.wait, "wait", "w", 0, "how long to wait for the lock; unlimited by default")
	flags.BoolVarP(&l.try, "try", "n", false, "do not wait")
	flags.IntVarP(&l.conflict, "conflict-exit-code", "E", exitConflict, "exit code if the lock is not acquired")
	flags.DurationVar(&l.grace, "grace", 5*time.Second, "time from SIGTERM to SIGKILL when the lock is lost")
	return cmd
}

// parse parses the arguments and checks the flags. dash is the number of arguments before
// "--", or -1.
func (l *lockCommand) parse(args []string, dash int) error {
	switch {
	case dash < 0:
		return errors.New(`"--" is required between the keys and the command`)
	case dash == 0:
		return errors.New("at least one key is required")
	case dash == len(args):
		return errors.New("a command is required")
	case l.try && l.hasWait:
		return errors.New("--try and --wait are mutually exclusive")
	case l.wait < 0:
		return fmt.Errorf("--wait must not be negative, got %v", l.wait)
	case l.ttl < time.Millisecond:
		return fmt.Errorf("--ttl must be at least 1ms, got %v", l.ttl)
	case l.grace < 0:
		return fmt.Errorf("--grace must not be negative, got %v", l.grace)
	case l.conflict < 0 || l.conflict > 255:
		return fmt.Errorf("--conflict-exit-code must be from 0 to 255, got %d", l.conflict)
	}
	l.keys, l.args = args[:dash], args[dash:]
	return checkUsage(cobra.ArbitraryArgs)(nil, l.keys)
}

// run acquires the locks, runs the command and releases the locks. It handles signals all
// the time, so that no signal ends this process without releasing the locks and stopping
// the command.
func (l *lockCommand) run(ctx context.Context) error {
	signals, stop := catchSignals()
	defer stop()
	l.signals = signals
	c, err := l.target.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	lease, err := l.acquire(ctx, c)
	if err != nil {
		return err
	}
	code, err := l.process(lease).run(lease.Context())
	unlocked := lease.Unlock(ctx)
	switch {
	case err != nil:
		return err
	case errors.Is(unlocked, client.ErrLost):
		return withExitCode(exitLost, unlocked)
	case unlocked != nil:
		fmt.Fprintf(l.streams.Err, "mortise: the lock may last for the rest of its TTL of %v: %v\n", l.ttl, unlocked)
	}
	if code != 0 {
		return withExitCode(code, errors.New(""))
	}
	return nil
}

// acquire acquires the locks. A signal ends the wait, unless the signal has no effect by
// default.
func (l *lockCommand) acquire(ctx context.Context, c *client.Client) (*client.Lease, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var (
		lease       *client.Lease
		err         error
		interrupted os.Signal
		got         = make(chan struct{})
	)
	go func() {
		lease, err = l.tryThenWait(ctx, cancel, c)
		close(got)
	}()
	for {
		select {
		case s := <-l.signals:
			if !isIgnoredByDefault(s.(syscall.Signal)) {
				interrupted = s
				cancel(fmt.Errorf("signal: %v", s))
			}
			continue
		case <-got:
		}
		break
	}
	switch {
	case interrupted != nil:
		if err == nil {
			err = errors.Join(errors.New("interrupted"), lease.Unlock(ctx))
		}
		return nil, withExitCode(exitSignal+int(interrupted.(syscall.Signal)), err)
	case errors.Is(err, client.ErrLocked):
		return nil, withExitCode(l.conflict, err)
	case errors.Is(err, client.ErrUnavailable):
		return nil, withExitCode(exitUnavailable, err)
	}
	return lease, err
}

// tryThenWait first sends a request without waiting, which fails soon if Mortise is
// unreachable, and then waits. It limits the first request by a timer that calls cancel,
// because the lease's Context is a child of ctx and must not have its deadline.
func (l *lockCommand) tryThenWait(ctx context.Context, cancel context.CancelCauseFunc, c *client.Client) (*client.Lease, error) {
	options := []client.Option{client.TTL(l.ttl), client.Metadata(l.metadata())}
	timer := time.AfterFunc(l.target.timeout, func() { cancel(context.DeadlineExceeded) })
	lease, err := lockKeys(ctx, c, l.keys, append(options, client.Wait(0)))
	if !timer.Stop() && err == nil {
		return nil, errors.Join(context.DeadlineExceeded, lease.Unlock(ctx))
	}
	if l.try || !errors.Is(err, client.ErrLocked) {
		return lease, err
	}
	if l.hasWait {
		options = append(options, client.Wait(l.wait))
	}
	return lockKeys(ctx, c, l.keys, options)
}

// lockKeys acquires one lock with Lock, which every store supports, and several with
// LockAll.
func lockKeys(ctx context.Context, c *client.Client, keys []string, options []client.Option) (*client.Lease, error) {
	if len(keys) == 1 {
		return c.Lock(ctx, keys[0], options...)
	}
	return c.LockAll(ctx, keys, options...)
}

// metadata returns what lists show with the lock. It omits the command's arguments, which
// may be confidential.
func (l *lockCommand) metadata() map[string]string {
	host, _ := os.Hostname() // empty after an error
	return map[string]string{
		"host":    host,
		"pid":     strconv.Itoa(os.Getpid()),
		"command": strings.ToValidUTF8(filepath.Base(l.args[0]), "?"),
	}
}

func (l *lockCommand) process(lease *client.Lease) process {
	return process{
		args: l.args,
		env: append(os.Environ(),
			"MORTISE_KEY="+strings.Join(lease.Keys(), "\n"),
			"MORTISE_TOKEN="+strconv.FormatUint(lease.Token(), 10),
			client.HoldingVariable+"="+strings.Join(lease.Holding(), ",")),
		streams:       l.streams,
		signals:       l.signals,
		grace:         l.grace,
		expires:       lease.Expires,
		limitInterval: max(l.ttl/6, 100*time.Millisecond),
	}
}
