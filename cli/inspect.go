package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/mortise-lock/mortise/client"
)

func newList(t *target) *cobra.Command {
	var output outputFormat
	cmd := &cobra.Command{
		Use:   "list [PREFIX]",
		Short: "list the locks whose key starts with PREFIX, sorted by key",
		Long: `List the locks whose key starts with PREFIX and that are held, or declared like those of RTM, sorted by key.

A declared lock that is free has no owner; DECLARED is its TTL when it is acquired.`,
		Args: checkUsage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			locks, err := list(cmd.Context(), t, firstArg(args))
			if err != nil {
				return err
			}
			if output == formatJSON {
				return printJSON(cmd.OutOrStdout(), locksToJSON(locks), true)
			}
			return printTable(cmd.OutOrStdout(), locks)
		},
	}
	output.addFlag(cmd.Flags())
	return cmd
}

func newGet(t *target) *cobra.Command {
	var output outputFormat
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "show one lock; the exit code is 1 if it is free",
		Long: `Show one lock, including one that another program, such as node-redlock, holds in the same Redis.

The exit code is 1 if the lock is free, and 70 if the key holds data that is not a lock.`,
		Args: checkUsage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var lock client.LockInfo
			err := t.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) (err error) {
				lock, err = c.Get(ctx, args[0])
				return err
			})
			if err != nil {
				return err
			}
			return printLock(cmd.OutOrStdout(), lock, output)
		},
	}
	output.addFlag(cmd.Flags())
	return cmd
}

// printLock prints a lock. It fails with ErrNotHeld if the lock is declared but free.
func printLock(w io.Writer, l client.LockInfo, output outputFormat) (err error) {
	if output == formatJSON {
		err = printJSON(w, lockToJSON(l), true)
	} else {
		err = printDetails(w, l)
	}
	if err == nil && !l.Held() {
		err = fmt.Errorf("get %q: %w", l.Key, client.ErrNotHeld)
	}
	return err
}

func newWatch(t *target) *cobra.Command {
	var output outputFormat
	cmd := &cobra.Command{
		Use:   "watch [PREFIX]",
		Short: "show the locks whose key starts with PREFIX, and then every change, until interrupted",
		Long: `Show the locks whose key starts with PREFIX, held or declared, and then every change, until interrupted.

With -o json every line is an event: kind, revision, and the lock after the change, or before it if the lock has ended. The
first event is of kind SNAPSHOT and has all locks. A later SNAPSHOT replaces all that came before: changes were missed, or
Mortise did not respond for a while.`,
		Args: checkUsage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return watch(cmd, t, firstArg(args), output) },
	}
	output.addFlag(cmd.Flags())
	return cmd
}

func newRevoke(t *target) *cobra.Command {
	var (
		owner string
		force bool
	)
	cmd := &cobra.Command{
		Use:   "revoke KEY {--owner OWNER | --force}",
		Short: "take a lock from its holder; the next waiter gets it",
		Long: `Take a lock from its holder; the next waiter gets it, with a larger fencing token.

The former holder loses the lock at its next renewal. Until then it continues to work, and only a resource that checks fencing
tokens rejects it. The exit code is 1 if the lock is not held, or not by OWNER.

A lock of another program in the same Redis is only revoked with --owner, from the owner that get shows: without it, a value
that a program caches under that key could be deleted. The exit code is then 70, as it is if the key holds other data.`,
		Args: checkUsage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if force == (owner != "") {
				return withExitCode(exitUsage, errors.New("give either --owner OWNER, or --force for any owner"))
			}
			return t.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return c.Revoke(ctx, args[0], owner)
			})
		},
	}
	cmd.Flags().StringVar(&owner, "owner", "", "take it only from this owner, as shown by list")
	cmd.Flags().BoolVar(&force, "force", false, "take it from any owner")
	return cmd
}

func list(ctx context.Context, t *target, prefix string) (locks []client.LockInfo, err error) {
	err = t.withClient(ctx, func(ctx context.Context, c *client.Client) error {
		locks, err = c.List(ctx, prefix)
		return err
	})
	return locks, err
}

// watch prints events until ctx ends, which is not an error. The timeout applies to the
// first event.
func watch(cmd *cobra.Command, t *target, prefix string, output outputFormat) error {
	c, err := t.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	timer := time.AfterFunc(t.timeout, func() { cancel(context.DeadlineExceeded) })
	defer timer.Stop()
	err = c.Watch(ctx, prefix, func(e client.Event) error {
		timer.Stop()
		if e.Missed {
			fmt.Fprintln(cmd.ErrOrStderr(), "mortise: changes were missed; all locks follow")
		}
		if output == formatJSON {
			return printJSON(cmd.OutOrStdout(), eventToJSON(e), false)
		}
		return printEvent(cmd.OutOrStdout(), time.Now(), e)
	})
	if cmd.Context().Err() != nil {
		return nil
	}
	return err
}

// firstArg returns the first argument, or "".
func firstArg(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
