package redis

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// otherData are values that are not locks, each with the command that writes it.
var otherData = []struct {
	name    string
	command []any // without the key, which is its first argument
	ttl     time.Duration
}{
	{"a string that does not expire", []any{"SET", "x"}, 0},
	{"an empty string", []any{"SET", ""}, 0},
	{"a string that looks like an owner", []any{"SET", "o"}, 0},
	{"JSON", []any{"SET", `{"total":5}`}, 0},
	{"a number", []any{"INCRBY", 5}, 0},
	{"bits", []any{"SETBIT", 7, 1}, 0},
	{"a HyperLogLog", []any{"PFADD", "a"}, 0},
	{"a hash", []any{"HSET", "total", 5}, 0},
	{"a hash that expires", []any{"HSET", "total", 5}, time.Hour},
	{"a hash like a record", []any{"HSET", "owner", "o", "token", 1}, 0},
	{"a list", []any{"RPUSH", "a", "b"}, 0},
	{"a list that expires", []any{"RPUSH", "a", "b"}, time.Hour},
	{"a set", []any{"SADD", "a"}, 0},
	{"a sorted set", []any{"ZADD", 1, "a"}, 0},
	{"places", []any{"GEOADD", "13.36", "38.11", "Palermo"}, 0},
	{"a stream", []any{"XADD", "1-1", "f", "v"}, 0},
	{"a stream that expires", []any{"XADD", "1-1", "f", "v"}, time.Hour},
}

// writeData writes a value to a key.
func writeData(t *testing.T, client *goredis.Client, key string, command []any, ttl time.Duration) {
	t.Helper()
	args := append([]any{command[0], key}, command[1:]...)
	if err := client.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	if ttl > 0 {
		client.Expire(t.Context(), key, ttl)
	}
}

// allCalls returns all calls for one key, which may be declared in the group.
func allCalls(s *Store, key string) map[string]func(context.Context) error {
	one, member := request(key, "o", time.Minute), member(key, "o")
	several := stores.MultiRequest{Keys: []string{"free", key}, Owner: "o", TTL: time.Minute}
	waiting := several
	waiting.Wait = true
	holding := request(key, "p", time.Minute, "o")
	return map[string]func(context.Context) error{
		"try lock":            func(ctx context.Context) error { return grantErr(s.TryLock(ctx, one)) },
		"try lock in a group": func(ctx context.Context) error { return grantErr(s.TryLock(ctx, member)) },
		"lock":                func(ctx context.Context) error { return grantErr(s.Lock(ctx, one)) },
		"lock while holding":  func(ctx context.Context) error { return grantErr(s.Lock(ctx, holding)) },
		"lock in a group":     func(ctx context.Context) error { return grantErr(s.Lock(ctx, member)) },
		"try lock all":        func(ctx context.Context) error { return grantErr(s.LockAll(ctx, several)) },
		"lock all":            func(ctx context.Context) error { return grantErr(s.LockAll(ctx, waiting)) },
		"renew":               func(ctx context.Context) error { return grantErr(s.Renew(ctx, one)) },
		"unlock":              func(ctx context.Context) error { return s.Unlock(ctx, key, "o") },
		"unlock by its value": func(ctx context.Context) error { return s.Unlock(ctx, key, "x") },
		"revoke":              func(ctx context.Context) error { return s.Revoke(ctx, key, "o") },
		"revoke by its value": func(ctx context.Context) error { return s.Revoke(ctx, key, "x") },
		"revoke from anyone":  func(ctx context.Context) error { return s.Revoke(ctx, key, "") },
		"declare": func(ctx context.Context) error {
			return s.Declare(ctx, stores.Declaration{Group: group, Key: key, TTL: time.Minute})
		},
		"withdraw": func(ctx context.Context) error { return s.Withdraw(ctx, group, key) },
		"get": func(ctx context.Context) error {
			_, err := s.Get(ctx, key)
			return err
		},
	}
}

// wantNotLock makes all calls for a key that holds no lock.
func wantNotLock(t *testing.T, s *Store, key, data string) {
	t.Helper()
	for name, call := range allCalls(s, key) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := call(ctx); !errors.Is(err, stores.ErrNotLock) {
			t.Errorf("%s, %q: %s: %v", data, key, name, err)
		}
		cancel()
	}
}

// TestStore_KeyHoldsData makes every call for every kind of data, under keys of users and
// of daprd, and under keys that were declared before.
func TestStore_KeyHoldsData(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	subscribed := openStore(t, "redisHost", server.Addr) // where Lock queues immediately
	lock(t, s, "held", "holder", time.Minute)
	startLock(t, subscribed, request("held", "waiter", time.Minute), 1)
	for i, data := range otherData {
		for j, key := range []string{group + fmt.Sprint("order-", i), group + fmt.Sprint("declared-", i), fmt.Sprint("lock||app||", i)} {
			if j == 1 {
				declare(t, s, group, key, time.Minute)
			}
			writeData(t, client, key, data.command, data.ttl)
			before := client.Dump(t.Context(), key).Val()
			for _, s := range []*Store{s, subscribed} {
				wantNotLock(t, s, key, data.name)
			}
			if after := client.Dump(t.Context(), key).Val(); after != before || before == "" {
				t.Errorf("%s: %q was changed", data.name, key)
			}
			if left := client.PTTL(t.Context(), key).Val(); data.ttl > 0 != (left > 0) || left > data.ttl {
				t.Errorf("%s: %q now expires in %v", data.name, key, left)
			}
			if n := waiters(t, s, key) + waiters(t, s, "free"); n > 0 {
				t.Errorf("%s: %d waiters for %q", data.name, n, key)
			}
		}
	}
	if n := client.Exists(t.Context(), "free").Val(); n != 0 {
		t.Error("one of several locks was taken")
	}
	list, err := s.List(t.Context(), "")
	if err != nil || len(list) != len(otherData)+1 {
		t.Errorf("the list has %d locks, want the %d declared ones and one more: %v", len(list), len(otherData), err)
	}
	for _, l := range list {
		if l.Owner != "" && l.Key != "held" {
			t.Errorf("the list has %+v", l)
		}
	}
}

// TestLock_KeyBecomesData replaces a lock by data while requests of all kinds wait for
// it.
func TestLock_KeyBecomesData(t *testing.T) {
	t.Parallel()
	for _, command := range [][]any{{"HSET", "f", "v"}, {"SET", "x"}} {
		t.Run(fmt.Sprint(command[0]), func(t *testing.T) {
			t.Parallel()
			server := servers.StartRedis(t)
			s, other, client := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr), server.Client()
			declare(t, s, group, group+"k", time.Minute)
			lock(t, s, group+"k", "holder", time.Minute)
			lock(t, s, "another", "holder", time.Minute)
			all := []*lockCall{
				startLock(t, s, request(group+"k", "a", time.Minute), 1),
				startLock(t, other, request(group+"k", "b", time.Minute, "held"), 2),
				startLock(t, s, member(group+"k", "c"), 3),
				startLockAll(t, other, stores.MultiRequest{
					Keys: []string{"another", group + "k"}, Owner: "d", TTL: time.Minute,
				}, 1),
			}
			waits := startLock(t, s, request("another", "e", time.Minute), 2)
			client.Del(t.Context(), group+"k") // waiters notice it at the next check
			writeData(t, client, group+"k", command, 0)
			for _, w := range all {
				w.failsWith(stores.ErrNotLock)
			}
			if !waits.isWaiting() {
				t.Error("the wait for another lock must go on")
			}
			unlock(t, s, "another", "holder")
			waits.granted()
		})
	}
}

func TestLock_OverwrittenBeforeClaim(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	w := s.newSingleWaiter(request("k", "o", time.Minute))
	lock(t, s, "k", "holder", time.Minute)
	w.enqueue(t, s)
	unlock(t, s, "k", "holder")
	client.Del(t.Context(), "k")
	writeData(t, client, "k", []any{"HSET", "f", "v"}, 0)
	if g, err := s.request(t.Context(), w, true); !errors.Is(err, stores.ErrNotLock) {
		t.Errorf("claim: %+v, %v", g, err)
	}
	if err := s.sendLeave(t.Context(), w); err != nil {
		t.Errorf("leave: %v", err)
	}
	if client.Type(t.Context(), "k").Val() != "hash" {
		t.Error("the data was changed")
	}
}

// TestDeadlock_KeyHoldsData replaces a lock by data that a deadlock search visits.
func TestDeadlock_KeyHoldsData(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, other, client := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr), server.Client()
	lock(t, s, "held", "me", time.Minute)
	lock(t, s, "overwritten", "x", time.Minute)
	// It belongs to a process that counts as alive but no longer serves its waiters.
	w := other.newWaiter(stores.MultiRequest{Keys: []string{"overwritten", "front"}, Owner: "w", TTL: time.Minute})
	w.enqueue(t, other)
	client.Del(t.Context(), "overwritten")
	writeData(t, client, "overwritten", []any{"HSET", "f", "v"}, 0)
	lock(t, s, "wanted", "y", time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	client.Set(t.Context(), "mortise:process:"+other.id, "", time.Minute)
	if _, err := s.Lock(ctx, request("front", "me", time.Minute, "me")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("behind a waiter for other data: %v", err)
	}
}
