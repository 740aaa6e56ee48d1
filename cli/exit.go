package cli

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/client"
)

// Exit codes. "locks lock" also has those of its command.
const (
	exitSuccess       = 0
	exitNotHeld       = 1   // get, revoke: the lock is not held, or not by that owner
	exitUsage         = 2   // the command line, or a file that it names, is invalid
	exitUnavailable   = 69  // Mortise or its store does not respond
	exitFailed        = 70  // any other failure, such as a deadlock
	exitConflict      = 75  // lock: the lock was not acquired within --wait
	exitLost          = 76  // lock: the lock was lost while the command ran
	exitDenied        = 77  // the token is missing or wrong
	exitNotExecutable = 126 // lock: the command could not be started
	exitNotFound      = 127 // lock: the command does not exist
	exitSignal        = 128 // lock: plus the signal that ended the command or the wait
)

// exitError is an error with an exit code.
type exitError struct {
	code int
	error
}

// Unwrap returns the error without the exit code.
func (e *exitError) Unwrap() error { return e.error }

// withExitCode adds an exit code to an error that has none.
func withExitCode(code int, err error) error {
	var coded *exitError
	if err == nil || errors.As(err, &coded) {
		return err
	}
	return &exitError{code, err}
}

// exitCodeOf returns the exit code of an error.
func exitCodeOf(err error) int {
	var coded *exitError
	switch {
	case err == nil:
		return exitSuccess
	case errors.As(err, &coded):
		return coded.code
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
