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

// transientPrefixes are the prefixes of answers that can change without a change of
// configuration, permissions or data. Every other error that a server answers is
// permanent.
var transientPrefixes = []string{
	"LOADING ",     // the server reads its data after a restart
	"READONLY ",    // a replica after or during a failover
	"MASTERDOWN ",  // a replica without its primary
	"NOREPLICAS ",  // too few replicas for min-replicas-to-write
	"CLUSTERDOWN ", // slots of a cluster are being moved
	"TRYAGAIN ",
	"BUSY ",       // a script of another client takes too long
	"UNKILLABLE ", // the same script, after it has written
	"OOM ",        // the memory is full, and nothing may be evicted
	"MISCONF ",    // the server cannot save and so rejects writes
	"NOSCRIPT ",   // go-redis sends the script then
	"max number of clients",
	"no upstream host", // this and the next ones: a proxy whose server is unreachable
	"upstream ",
	"Connection ",
}

// permanentError is a [stores.ErrRefused] with a text of its own.
type permanentError struct{ error }

// Is reports whether target is ErrRefused.
func (permanentError) Is(target error) bool { return target == stores.ErrRefused }

// Unwrap returns the cause.
func (r permanentError) Unwrap() error { return r.error }

// permanentf returns a formatted permanentError.
func permanentf(format string, args ...any) error { return permanentError{fmt.Errorf(format, args...)} }

// isPermanent reports whether a retry cannot help: a server, or each of the servers that
// were asked, answered with a permanent error, or has an invalid certificate.
func isPermanent(err error) bool {
	switch e := err.(type) { //nolint:errorlint // joined errors need all causes
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

// isTransient reports whether a server's answer has one of the transientPrefixes. Before
// Redis 7, the error of a command in a script is part of the script's error.
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

// serverMessage returns a server's answer without what callers have added, or nothing if
// err is not a server's answer.
func serverMessage(err error) string {
	var answer goredis.Error
	if !errors.As(err, &answer) {
		return ""
	}
	return answer.Error()
}

// isServerError reports whether err is a server's answer.
func isServerError(err error) bool { return serverMessage(err) != "" }

// isUnknown reports whether a server does not know a command.
func isUnknown(err error) bool {
	text := strings.ToLower(serverMessage(err))
	return strings.Contains(text, "unknown command") || strings.Contains(text, "unsupported command")
}

// isDenied reports whether a server's access control list denies something. Redis 7.0 has
// a different text for scripts.
func isDenied(err error) bool {
	text := serverMessage(err)
	return strings.HasPrefix(text, "NOPERM ") || strings.HasPrefix(text, "ERR The user executing the script can't ")
}
