// Package redis keeps locks in one Redis server, the way Dapr's built-in lock.redis does: a lock is a string key, its value
// is the owner, its expiry is Redis's. So both can serve one Redis, and each sees the other's locks.
//
// Beside each lock stands its record, the hash mortise:lock:<key> with the fencing token and the TTL; it lives exactly as
// long. One key, mortise:token, holds the last token given. Nothing else is written.
//
// A lock is lost when Redis loses its key: by a restart without persistence, by an eviction policy when memory runs out,
// by FLUSHALL, and by a failover before the key was replicated. Tokens still grow then, because they follow Redis's clock
// and the largest token that each Mortise has seen; so a resource that checks tokens stays safe. Redis ends leases by its
// wall clock: one that is set forward ends them early.
package redis

import (
	"context"
	_ "embed" // for the scripts
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/dapr/kit/logger"
	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/stores"
)

var (
	_ stores.Store   = (*Store)(nil)
	_ stores.Renewer = (*Store)(nil)
	_ stores.Lister  = (*Store)(nil)
	_ stores.Pinger  = (*Store)(nil)
)

// Keys of our own, out of the way of daprd's, which begin with "lock||".
const (
	tokenKey     = "mortise:token"
	recordPrefix = "mortise:lock:"
)

// Answers of the scripts other than a token.
const (
	notHeld  = -1
	notOwner = -2
)

var (
	//go:embed trylock.lua
	tryLockLua string
	//go:embed unlock.lua
	unlockLua string
	//go:embed renew.lua
	renewLua string

	tryLockScript = goredis.NewScript(tryLockLua)
	unlockScript  = goredis.NewScript(unlockLua)
	renewScript   = goredis.NewScript(renewLua)
)

// Backend describes the redis store for a registry. It sends go-redis's messages, which go to standard error otherwise, to
// the log of level debug: what matters in them comes back as an error of the call.
func Backend() stores.Backend {
	goredis.SetLogger(clientLog{logger.NewLogger("mortise.redis")})
	return stores.Backend{Config: &Config{}, Open: open}
}

// clientLog is the part of go-redis's logging that it lets us replace.
type clientLog struct{ logger.Logger }

// Printf implements go-redis's logging interface.
func (l clientLog) Printf(_ context.Context, format string, args ...any) { l.Debugf(format, args...) }

// Store is a client of one Redis. A call that is under way when its context is cancelled returns within the configured
// readTimeout; a deadline ends it on time.
type Store struct {
	client   goredis.UniversalClient
	id       string        // unique to this Store
	requests atomic.Uint64 // counted, for unique request ids
	seen     atomic.Uint64 // the largest token this Store has been given
}

// open returns a store whose Redis answers and can be trusted with locks.
func open(ctx context.Context, c stores.Component) (stores.Store, error) {
	config, err := parseConfig(c.Metadata)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	options, err := config.options()
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	s := &Store{client: goredis.NewUniversalClient(options), id: uuid.NewString()}
	if err := s.checkServer(ctx, c.Log, config.Failover); err != nil {
		return nil, errors.Join(fmt.Errorf("redis: %w", err), s.client.Close())
	}
	return s, nil
}

// TryLock implements [stores.Store].
func (s *Store) TryLock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	start := time.Now()
	request := s.id + "-" + strconv.FormatUint(s.requests.Add(1), 36)
	keys := []string{req.Key, recordPrefix + req.Key, tokenKey}
	token, err := tryLockScript.Run(ctx, s.client, keys, req.Owner, millis(req.TTL), request, s.seen.Load()).Int64()
	if err != nil {
		return stores.Grant{}, wrap(ctx, "try lock", req.Key, err)
	}
	if token == 0 {
		return stores.Grant{}, nil
	}
	s.saw(uint64(token))
	return stores.Grant{Acquired: true, Token: uint64(token), Expires: start.Add(req.TTL)}, nil
}

// Unlock implements [stores.Store]. If the answer to a release is lost and go-redis repeats it, ErrNotHeld tells of the
// first try's success.
func (s *Store) Unlock(ctx context.Context, key, owner string) error {
	answer, err := unlockScript.Run(ctx, s.client, []string{key, recordPrefix + key}, owner).Int64()
	return wrap(ctx, "unlock", key, outcome(answer, err))
}

// Renew implements [stores.Renewer]. A lock that lock.redis took is renewed too; it has no token.
func (s *Store) Renew(ctx context.Context, req stores.Request) (stores.Grant, error) {
	start := time.Now()
	keys := []string{req.Key, recordPrefix + req.Key}
	answer, err := renewScript.Run(ctx, s.client, keys, req.Owner, millis(req.TTL)).Int64()
	if err := outcome(answer, err); err != nil {
		return stores.Grant{}, wrap(ctx, "renew", req.Key, err)
	}
	return stores.Grant{Acquired: true, Token: uint64(answer), Expires: start.Add(req.TTL)}, nil
}

// Ping implements [stores.Pinger].
func (s *Store) Ping(ctx context.Context) error {
	return wrap(ctx, "ping", "", s.client.Ping(ctx).Err())
}

// Close implements [stores.Store].
func (s *Store) Close() error {
	if err := s.client.Close(); err != nil && !errors.Is(err, goredis.ErrClosed) {
		return fmt.Errorf("redis: close: %w", err)
	}
	return nil
}

// saw remembers the largest token.
func (s *Store) saw(token uint64) {
	for last := s.seen.Load(); token > last; last = s.seen.Load() {
		if s.seen.CompareAndSwap(last, token) {
			return
		}
	}
}

// millis is the TTL as Redis takes it: whole milliseconds, rounded up.
func millis(ttl time.Duration) int64 {
	return int64((ttl + time.Millisecond - 1) / time.Millisecond)
}

// outcome turns a script's answer into the contract's error.
func outcome(answer int64, err error) error {
	switch {
	case err != nil:
		return err
	case answer == notHeld:
		return stores.ErrNotHeld
	case answer == notOwner:
		return stores.ErrNotOwner
	}
	return nil
}

// wrap adds what was tried. go-redis reports a context's end as a network timeout at times; callers get to see both.
func wrap(ctx context.Context, op, key string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, goredis.ErrClosed) {
		err = stores.ErrClosed
	}
	if ended := ended(ctx); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", ended, err)
	}
	return fmt.Errorf("redis: %s %q: %w", op, key, err)
}

// ended is ctx.Err, told a moment earlier if the deadline is over and its timer has not fired yet.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}
