package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/stores"
)

// passing lists how the answers begin that time can change without a change of
// configuration, permissions or data. Every other error that a server answers is
// permanent.
var transientPrefixes = []string{
	"LOADING ",     // it reads its data after a restart
	"READONLY ",    // a failover has made it a replica, or will make it the primary
	"MASTERDOWN ",  // a replica without its primary
	"NOREPLICAS ",  // too few replicas for min-replicas-to-write
	"CLUSTERDOWN ", // and TRYAGAIN: a cluster moves slots
	"TRYAGAIN ",
	"BUSY ",       // a script of another client runs for too long
	"UNKILLABLE ", // the same script, after it has written
	"OOM ",        // the memory is full, and nothing may be evicted
	"MISCONF ",    // it cannot save, so it stops writes
	"NOSCRIPT ",   // go-redis sends the script itself
	"max number of clients",
	"no upstream host", // and the next ones: proxies whose server is unreachable
	"upstream ",
	"Connection ",
}

// refusal is a permanent error. It is a [stores.ErrRefused] with a text of its own.
type permanentError struct{ error }

// Is reports whether target is ErrRefused.
func (permanentError) Is(target error) bool { return target == stores.ErrRefused }

// Unwrap returns the cause.
func (r permanentError) Unwrap() error { return r.error }

// refusef returns a refusal with a text.
func permanentf(format string, args ...any) error { return permanentError{fmt.Errorf(format, args...)} }

// refuses reports whether time cannot mend an error: a server, or each of the servers
// that were asked, answered with a permanent error, or has a certificate that is not
// valid.
func isPermanent(err error) bool {
	switch e := err.(type) { //nolint:errorlint // every cause of a joined error counts, so this function unwraps
	case nil:
		return false
	case permanentError, *tls.CertificateVerificationError:
		return true
	case goredis.Error:
		return !errors.Is(err, goredis.Nil) && !isTransient(err.Error())
	case interface{ Unwrap() []error }:
		causes := e.Unwrap()
		return len(causes) > 0 && !slices.ContainsFunc(causes, func(err error) bool { return !isPermanent(err) })
	}
	return isPermanent(errors.Unwrap(err))
}

// passes reports whether a server's answer is one of the passing ones. Before Redis 7,
// the answer to a script's command comes inside the script's own error.
func isTransient(answer string) bool {
	answer = strings.TrimPrefix(answer, "ERR ") + " "
	inner, inScript := strings.CutPrefix(answer, "Error running script")
	return slices.ContainsFunc(transientPrefixes, func(begin string) bool {
		if inScript {
			return strings.Contains(inner, ": "+begin) || strings.Contains(inner, "-"+begin)
		}
		return strings.HasPrefix(answer, begin)
	})
}

// answer returns what a server answered, without what others have added, or nothing if
// err is not an answer.
func serverMessage(err error) string {
	var answer goredis.Error
	if !errors.As(err, &answer) {
		return ""
	}
	return answer.Error()
}

// answered reports whether err is a server's answer.
func isServerError(err error) bool { return serverMessage(err) != "" }

// isUnknown reports whether a server does not know a command.
func isUnknown(err error) bool {
	text := strings.ToLower(serverMessage(err))
	return strings.Contains(text, "unknown command") || strings.Contains(text, "unsupported command")
}

// isDenied reports whether a server's access control list forbids something. Redis 7.0
// words a refusal within a script in its own way.
func isDenied(err error) bool {
	text := serverMessage(err)
	return strings.HasPrefix(text, "NOPERM ") || strings.HasPrefix(text, "ERR The user executing the script can't ")
}
