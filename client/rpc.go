package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
)

// unlock releases the keys concurrently, and returns the error or nil of each.
func (c *connection) unlock(ctx context.Context, store string, keys []string, owner string, opts ...grpc.CallOption) []error {
	return forEachKey(keys, func(key string) error {
		_, err := c.locks.Unlock(ctx, &lockspb.UnlockRequest{Store: store, Key: key, Owner: owner}, opts...)
		return err
	})
}

// renew extends the keys to ttl concurrently, and returns the error or nil of each.
func (c *connection) renew(ctx context.Context, store string, keys []string, owner string, ttl time.Duration) []error {
	return forEachKey(keys, func(key string) error {
		_, err := c.locks.Renew(ctx, &lockspb.RenewRequest{
			Store: store, Key: key, Owner: owner, Ttl: durationpb.New(ttl),
		}, grpc.WaitForReady(true))
		return err
	})
}

// forEachKey calls do for every key, concurrently if there are several, and returns the
// errors in the order of the keys.
func forEachKey(keys []string, do func(key string) error) []error {
	if len(keys) == 1 {
		return []error{do(keys[0])}
	}
	errs := make([]error, len(keys))
	var all sync.WaitGroup
	for i, key := range keys {
		all.Go(func() { errs[i] = do(key) })
	}
	all.Wait()
	return errs
}

// backoff is a pause that doubles up to a limit.
type backoff struct{ next, max time.Duration }

// sleep pauses for the next time, half of which is random, but no longer than until, if
// it is not zero. It returns false if until has passed or ctx has ended.
func (p *backoff) sleep(ctx context.Context, until time.Time) bool {
	pause := p.next/2 + rand.N(p.next/2+1)
	p.next = min(2*p.next, p.max)
	if !until.IsZero() {
		pause = min(pause, time.Until(until))
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return until.IsZero() || time.Now().Before(until)
	case <-ctx.Done():
		return false
	}
}

// initRetryWindow is how long requests are retried while Mortise reports that the
// component does not exist, because a Mortise that starts has not opened it yet.
const initRetryWindow = 10 * time.Second

// retryWindow decides how long to retry.
type retryWindow struct {
	unknownSince time.Time // of the component; zero if it is known
}

// allows reports whether a retry after err may succeed: Mortise or its storage is
// unreachable, or Mortise has just started.
func (p *retryWindow) allows(err error) bool {
	var a *rpcError
	if !errors.As(err, &a) || a.reason != notInitialized {
		p.unknownSince = time.Time{}
		return errors.Is(err, ErrUnavailable)
	}
	if p.unknownSince.IsZero() {
		p.unknownSince = time.Now()
	}
	return time.Since(p.unknownSince) < initRetryWindow
}
