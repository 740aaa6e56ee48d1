// Package cli implements "mortise locks": commands for people and shell scripts that
// list, acquire and revoke locks.
//
// Standard output has only data. Errors go to standard error, and determine the exit
// code.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// Streams are the standard streams of a command.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Defaults are the values of flags that the command line does not set.
type Defaults struct {
	Target        string // of --target
	Token         string // the bearer token, without --token-file
	TokenVariable string // the environment variable that Token comes from, for the help
}

const rootHelp = `List, acquire and revoke the locks of a running Mortise.

Exit codes: 0 success, 1 the lock is not held (get, revoke), 2 the command line is invalid, 69 Mortise or its store does not
respond, 77 the token is missing or wrong, 70 any other failure, such as a key that holds data that is not a lock. For lock see
"mortise locks lock --help".`

// Run runs the command line args, whose first word is "locks", and returns the exit code.
// The command ends when ctx ends.
func Run(ctx context.Context, args []string, defaults Defaults, streams Streams) int {
	root := newRoot(defaults)
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	err := root.ExecuteContext(ctx)
	if err != nil && err.Error() != "" { // empty if a command has reported its error
		fmt.Fprintln(streams.Err, "mortise:", strings.TrimPrefix(err.Error(), "mortise: "))
	}
	return exitCodeOf(err)
}

// newRoot returns the command "mortise" with the subcommand "locks".
func newRoot(defaults Defaults) *cobra.Command {
	root := &cobra.Command{Use: "mortise", SilenceErrors: true, SilenceUsage: true}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Hidden: true}) // there is --help
	locks := &cobra.Command{
		Use:   "locks",
		Short: "list, acquire and revoke locks",
		Long:  rootHelp,
		Args:  checkUsage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withExitCode(exitUsage, errors.New("a command is required; see mortise locks --help"))
		},
	}
	target := newTarget(locks.PersistentFlags(), defaults)
	locks.AddCommand(newList(target), newGet(target), newWatch(target), newLock(target), newRevoke(target))
	locks.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return withExitCode(exitUsage, err) })
	root.AddCommand(locks)
	return root
}

// checkUsage returns a function that applies check to the arguments, and checks that they
// are valid UTF-8, as gRPC requires.
func checkUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		for _, arg := range args {
			if !utf8.ValidString(arg) {
				return withExitCode(exitUsage, fmt.Errorf("arguments must be valid UTF-8, got %q", arg))
			}
		}
		return withExitCode(exitUsage, check(cmd, args))
	}
}

// streams returns the streams of a command.
func streams(cmd *cobra.Command) Streams {
	return Streams{cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()}
}

// OSStreams returns the streams of the process.
func OSStreams() Streams { return Streams{os.Stdin, os.Stdout, os.Stderr} }
