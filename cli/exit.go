package cli

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/client"
)

// Exit codes. Those of "locks lock" are besides the command's own.
const (
	exitSuccess       = 0
	exitNotHeld       = 1   // get, revoke: the lock is not held, or not by that owner
	exitUsage         = 2   // the command line is wrong, or a file that it names
	exitUnavailable   = 69  // Mortise or its store does not answer
	exitFailed        = 70  // anything else; lock: also that waiting would be a deadlock
	exitConflict      = 75  // lock: it is held, and still was when the time to wait was over
	exitLost          = 76  // lock: it was lost while the command ran
	exitDenied        = 77  // the token is missing or wrong
	exitNotExecutable = 126 // lock: the command could not be started
	exitNotFound      = 127 // lock: there is no such command
	exitSignal        = 128 // lock: plus the number of the signal that ended the command, or the waiting
)

// exitError is an error that has an exit code of its own.
type exitError struct {
	code int
	error
}

// Unwrap returns what is told.
func (e *exitError) Unwrap() error { return e.error }

// withExitCode gives an error an exit code, unless it has one.
func withExitCode(code int, err error) error {
	var told *exitError
	if err == nil || errors.As(err, &told) {
		return err
	}
	return &exitError{code, err}
}

// exitCodeOf returns the exit code that an error stands for.
func exitCodeOf(err error) int {
	var told *exitError
	switch {
	case err == nil:
		return exitSuccess
	case errors.As(err, &told):
		return told.code
	case errors.Is(err, client.ErrLocked):
		return exitConflict
	case errors.Is(err, client.ErrNotHeld):
		return exitNotHeld
	case status.Code(err) == codes.InvalidArgument:
		return exitUsage
	case status.Code(err) == codes.Unauthenticated:
		return exitDenied
	case errors.Is(err, client.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return exitUnavailable
	}
	return exitFailed
}
