package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dapr/kit/logger"
	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/internal/sleep"
	"github.com/mortise-lock/mortise/stores"
)

const (
	// openTimeout bounds opening if ctx has no deadline.
	openTimeout = 5 * time.Second
	// minOpenDelay and maxOpenDelay bound the pause between two attempts to open a store.
	minOpenDelay = 50 * time.Millisecond
	maxOpenDelay = 500 * time.Millisecond
)

// open returns a store after it has checked that Redis is fit for locks and permits what
// calls need. It retries until ctx ends, unless an error is permanent. The error wraps
// ErrUnreachable if a later attempt may succeed.
func open(ctx context.Context, c stores.Component) (stores.Store, error) {
	config, err := parseConfig(c.Metadata)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	options, err := config.options()
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	s, err := connect(ctx, c.Log, options)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return s, nil
}

func connect(ctx context.Context, log logger.Logger, options *goredis.UniversalOptions) (*Store, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, openTimeout)
		defer cancel()
	}
	var last error
	for pause := minOpenDelay; ; pause = min(2*pause, maxOpenDelay) {
		s, err := openOnce(ctx, log, options)
		if err == nil {
			return s, nil
		}
		if isPermanent(err) {
			return nil, permanentError{err}
		}
		if last == nil || !isTimeout(err) || ctx.Err() == nil {
			last = err
		}
		if sleep.For(ctx, pause); errors.Is(ctx.Err(), context.Canceled) {
			return nil, fmt.Errorf("%w: %w", ctx.Err(), last)
		} else if ctx.Err() != nil {
			return nil, unreachableError{last}
		}
	}
}

// unreachableError is a transient error of opening, or of a call without an answer. It is
// an [stores.ErrUnreachable] with a text of its own.
type unreachableError struct{ error }

// Is reports whether target is ErrUnreachable.
func (unreachableError) Is(target error) bool { return target == stores.ErrUnreachable }

// Unwrap returns the cause.
func (u unreachableError) Unwrap() error { return u.error }

// openOnce opens a store with a client of its own, so that it does not meet dial errors
// that an earlier attempt's pool remembers.
func openOnce(ctx context.Context, log logger.Logger, options *goredis.UniversalOptions) (*Store, error) {
	s := newStore(options)
	if err := s.verify(ctx, log, options); err != nil {
		_ = s.client.Close() // the first error matters
		return nil, err
	}
	return s, nil
}

// verify checks what Redis is and whether it permits what calls need.
func (s *Store) verify(ctx context.Context, log logger.Logger, options *goredis.UniversalOptions) error {
	if options.MasterName != "" {
		if err := querySentinels(ctx, options); err != nil {
			return err
		}
	}
	warnings, err := s.checkServer(ctx, options)
	if err == nil {
		err = s.probe(ctx, options.Username)
	}
	if isPermanent(err) && isServerError(err) && options.MasterName == "" && isSentinel(ctx, options) {
		return errSentinel
	}
	if err == nil {
		for _, warning := range warnings {
			log.Warn(warning)
		}
	}
	return err
}
