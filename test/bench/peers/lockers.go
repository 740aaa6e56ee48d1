package main

// The locks that can be measured, each used as documented and without a limit of its
// wait.

import (
	"context"
	"errors"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	redsyncpool "github.com/go-redsync/redsync/v4/redis/goredis/v9"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// ttl is the TTL of all locks. None is held long enough to be renewed.
const ttl = 30 * time.Second

// lockers opens locks at a server's address, by name.
var lockers = map[string]func(ctx context.Context, addr string) (*locks, error){
	"memory":      openMortise("memory"),
	"redis":       openMortise("redis"),
	"redsync":     openRedsync,
	"redislock":   openRedislock,
	"rueidislock": openRueidislock,
	"etcd":        openEtcd,
}

// locks is an open client.
type locks struct {
	// Returns the lock function of one caller.
	caller func(ctx context.Context) (do, error)
	close  func()
}

// sharedLocks returns locks whose callers share one function.
func sharedLocks(d do, close func()) *locks {
	return &locks{func(context.Context) (do, error) { return d, nil }, close}
}

// forEach returns the lock functions of n callers.
func (l *locks) forEach(ctx context.Context, n int) ([]do, error) {
	all := make([]do, n)
	for i := range all {
		var err error
		if all[i], err = l.caller(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// openRedsync retries without the default limit of 32, with redsync's default pauses of
// 50 to 250 ms.
func openRedsync(_ context.Context, addr string) (*locks, error) {
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	sync := redsync.New(redsyncpool.NewPool(client))
	return sharedLocks(func(ctx context.Context, key string, held func()) error {
		mutex := sync.NewMutex(key, redsync.WithExpiry(ttl), redsync.WithTries(1_000_000))
		if err := mutex.LockContext(ctx); err != nil {
			return err
		}
		held()
		ok, err := mutex.UnlockContext(ctx)
		if err == nil && !ok {
			err = errors.New("redsync: the lock must be released")
		}
		return err
	}, func() { _ = client.Close() }), nil
}

// openRedislock retries every 10 ms. The callers' context has a deadline, so that the TTL
// does not limit the wait.
func openRedislock(_ context.Context, addr string) (*locks, error) {
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	locker := redislock.New(client)
	retry := &redislock.Options{RetryStrategy: redislock.LinearBackoff(10 * time.Millisecond)}
	return sharedLocks(func(ctx context.Context, key string, held func()) error {
		lock, err := locker.Obtain(ctx, key, ttl, retry)
		if err != nil {
			return err
		}
		held()
		return lock.Release(ctx)
	}, func() { _ = client.Close() }), nil
}

// openRueidislock uses one key for each lock, as the others do, instead of two of three.
// It releases a lock asynchronously.
func openRueidislock(_ context.Context, addr string) (*locks, error) {
	locker, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption:   rueidis.ClientOption{InitAddress: []string{addr}},
		KeyMajority:    1,
		NoLoopTracking: true,
	})
	if err != nil {
		return nil, err
	}
	return sharedLocks(func(ctx context.Context, key string, held func()) error {
		_, cancel, err := locker.WithContext(ctx, key)
		if err != nil {
			return err
		}
		defer cancel()
		held()
		return nil
	}, locker.Close), nil
}

// openEtcd opens a session for each caller: within one session, mutexes do not exclude
// each other.
func openEtcd(_ context.Context, addr string) (*locks, error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, DialTimeout: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	caller := func(context.Context) (do, error) {
		session, err := concurrency.NewSession(client, concurrency.WithTTL(int(ttl.Seconds())))
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, key string, held func()) error {
			mutex := concurrency.NewMutex(session, key)
			if err := mutex.Lock(ctx); err != nil {
				return err
			}
			held()
			return mutex.Unlock(ctx)
		}, nil
	}
	return &locks{caller, func() { _ = client.Close() }}, nil
}
