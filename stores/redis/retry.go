package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/internal/sleep"
)

// outageMaxAge is after how long a failure no longer explains another one.
const outageMaxAge = time.Minute

// retrier is a hook that retries commands, by go-redis's own rules. go-redis's retries
// are off, because they lose an attempt's error when the context of the call ends before
// the next attempt.
type retrier struct {
	retries                int
	minBackoff, maxBackoff time.Duration
	primary                string // its name in the Sentinels, or empty
	outage                 *outage
}

// addRetrier lets the client retry commands as the options say. It returns the record of
// the client's present outage.
func addRetrier(client *goredis.Client, o *goredis.UniversalOptions) *outage {
	r := &retrier{retries: max(0, o.MaxRetries), primary: o.MasterName, outage: &outage{}}
	r.minBackoff, r.maxBackoff = client.Options().MinRetryBackoff, client.Options().MaxRetryBackoff
	client.AddHook(r)
	return r.outage
}

// DialHook implements [goredis.Hook].
func (r *retrier) DialHook(next goredis.DialHook) goredis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err == nil {
			return conn, nil
		}
		if errors.Is(err, goredis.Nil) {
			err = fmt.Errorf("no Sentinel that answers knows a primary named %q", r.primary)
		}
		if ctx.Err() == nil {
			r.outage.record(err)
		}
		return nil, err
	}
}

// ProcessPipelineHook implements [goredis.Hook]. Pipelines are not retried.
func (r *retrier) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

// ProcessHook implements [goredis.Hook]. It retries until an attempt succeeds or fails
// with an error that is not retryable.
func (r *retrier) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		if name := cmd.Name(); name == "hello" || name == "auth" {
			return runHandshake(ctx, cmd, next)
		}
		var last error
		for n := 1; ; n++ {
			h := &handshake{}
			err := h.explain(next(context.WithValue(ctx, handshake{}, h), cmd))
			over := contextErr(ctx)
			switch {
			case err == nil, isServerError(err) && !isRetryable(err), over == nil && !isRetryable(err):
				r.outage.clear(err)
				return err
			case over != nil:
				return r.outage.wrap(over, err, last)
			}
			r.outage.record(err)
			if last = err; n > r.retries {
				return err
			}
			if sleep.For(ctx, r.backoff(n)); ctx.Err() != nil {
				return r.outage.wrap(ctx.Err(), ctx.Err(), last)
			}
		}
	}
}

// runHandshake sends a command of the handshake that go-redis makes for a new connection,
// and records the answer for the attempt that needs the connection.
func runHandshake(ctx context.Context, cmd goredis.Cmder, next goredis.ProcessHook) error {
	err := next(ctx, cmd)
	if h, ok := ctx.Value(handshake{}).(*handshake); ok {
		h.record(err)
	}
	return err
}

// backoff returns the pause before the nth retry: random, and about twice the one before.
func (r *retrier) backoff(n int) time.Duration {
	if r.minBackoff <= 0 {
		return 0
	}
	return min(r.maxBackoff, r.minBackoff+rand.N(r.minBackoff<<min(n, 20)))
}

// isRetryable reports whether an attempt failed without an answer, or with one after
// which go-redis would retry the command.
func isRetryable(err error) bool {
	if isServerError(err) {
		return goredis.IsLoadingError(err) || goredis.IsReadOnlyError(err) || goredis.IsMasterDownError(err) ||
			goredis.IsClusterDownError(err) || goredis.IsTryAgainError(err) || goredis.IsMaxClientsError(err) ||
			goredis.HasErrorPrefix(err, "NOREPLICAS ")
	}
	var network net.Error
	return errors.As(err, &network) && !isPermanent(err) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, goredis.ErrPoolTimeout)
}

// handshake holds a server's answer to the handshake of an attempt's connection. A server
// that accepts no connection explains it in the answer to the first command and closes
// the connection, and go-redis would report only that it is closed.
type handshake struct{ answer error }

func (h *handshake) record(err error) {
	if goredis.IsMaxClientsError(err) || goredis.HasErrorPrefix(err, "DENIED ") {
		h.answer = err
	}
}

// explain returns the attempt's error, with the server's reason for closing the
// connection.
func (h *handshake) explain(err error) error {
	if err == nil || h.answer == nil || isServerError(err) {
		return err
	}
	return fmt.Errorf("%w (%v)", h.answer, err) //nolint:errorlint // err is context
}

// outage holds the error of a Store's last command, if it is transient.
type outage struct{ last atomic.Pointer[failure] }

type failure struct {
	err error
	at  time.Time
}

func (o *outage) record(err error) { o.last.Store(&failure{err, time.Now()}) }

// clear records that the server answers.
func (o *outage) clear(err error) {
	if (err == nil || isServerError(err)) && o.last.Load() != nil {
		o.last.Store(nil)
	}
}

// wrap returns over, the error of a context, with the best known reason why Redis did not
// answer before: err, that of the attempt in progress; or last, that of the attempt
// before; or that of another call.
func (o *outage) wrap(over, err, last error) error {
	reason := cmp.Or(last, o.lastError(), err)
	if !isTimeout(err) {
		reason = err
	}
	if errors.Is(reason, over) {
		return reason
	}
	err = fmt.Errorf("%w: %w", over, reason)
	if errors.Is(over, context.Canceled) { // Redis was not the reason
		return err
	}
	return unreachableError{err}
}

// lastError returns why commands fail at present, or nil.
func (o *outage) lastError() error {
	if f := o.last.Load(); f != nil && time.Since(f.at) < outageMaxAge {
		return f.err
	}
	return nil
}

// isTimeout reports whether an error only reports a timeout or a cancellation.
func isTimeout(err error) bool {
	var network net.Error
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &network) && network.Timeout()
}
