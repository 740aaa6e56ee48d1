package redis

import (
	"errors"
	"slices"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// The scripts of node-redlock and @sesamecare-oss/redlock, without their comments.
const (
	redlockAcquire = `for i, key in ipairs(KEYS) do if redis.call("exists", key) == 1 then return 0 end end
		for i, key in ipairs(KEYS) do redis.call("set", key, ARGV[1], "PX", ARGV[2]) end
		return #KEYS`
	redlockExtend = `for i, key in ipairs(KEYS) do if redis.call("get", key) ~= ARGV[1] then return 0 end end
		for i, key in ipairs(KEYS) do redis.call("set", key, ARGV[1], "PX", ARGV[2]) end
		return #KEYS`
	redlockRelease = `local count = 0
		for i, key in ipairs(KEYS) do
			if redis.call("get", key) == ARGV[1] then redis.pcall("del", key) count = count + 1 end
		end
		return count`
)

// otherProgram is a program whose locks are strings that expire. Its calls report whether
// they succeeded.
type otherProgram struct {
	t      *testing.T
	client *goredis.Client
	name   string
	// Scripts. Without acquire it sends SET NX PX, as redsync, redislock and many shell
	// scripts do.
	acquire, extend, release string
}

var otherPrograms = []otherProgram{
	{name: "node-redlock", acquire: redlockAcquire, extend: redlockExtend, release: redlockRelease},
	{name: "SET NX PX", extend: redlockExtend, release: lockRedisUnlock},
}

func (p otherProgram) take(key, value string, ttl time.Duration) bool {
	if p.acquire == "" {
		return p.client.SetNX(p.t.Context(), key, value, ttl).Val()
	}
	return p.run(p.acquire, key, value, ttl)
}

func (p otherProgram) run(script, key, value string, ttl time.Duration) bool {
	p.t.Helper()
	n, err := p.client.Eval(p.t.Context(), script, []string{key}, value, ttl.Milliseconds()).Int()
	if err != nil {
		p.t.Fatal(err)
	}
	return n == 1
}

// forEachProgram runs a test with each program on a Redis of its own.
func forEachProgram(t *testing.T, test func(t *testing.T, s *Store, p otherProgram)) {
	for _, p := range otherPrograms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			server := servers.StartRedis(t)
			p.t, p.client = t, server.Client()
			test(t, openStore(t, "redisHost", server.Addr), p)
		})
	}
}

const secret = "6f1e1d0c2b3a49586776859493a2b1c0" // of node-redlock's form

func TestOtherPrograms_Exclude(t *testing.T) {
	t.Parallel()
	forEachProgram(t, func(t *testing.T, s *Store, p otherProgram) {
		for _, key := range []string{"report", "redlock_app:~:module.report", "lock||app||report", "{a}*?[b]\\"} {
			if !p.take(key, secret, time.Minute) {
				t.Fatal("a free lock must be granted")
			}
			if g, err := s.TryLock(t.Context(), request(key, "o", time.Minute)); err != nil || g.Acquired {
				t.Errorf("try lock %q: %+v, %v", key, g, err)
			}
			all := stores.MultiRequest{Keys: []string{"free", key}, Owner: "o", TTL: time.Minute}
			if g, err := s.LockAll(t.Context(), all); err != nil || g.Acquired {
				t.Errorf("lock all with %q: %+v, %v", key, g, err)
			}
			w := startLock(t, s, request(key, "o", time.Minute), 1)
			if !p.run(p.extend, key, secret, 2*time.Minute) || !w.isWaiting() {
				t.Error("the holder cannot extend its lock")
			}
			if !p.run(p.release, key, secret, 0) {
				t.Error("the holder cannot release its lock")
			}
			w.granted()
			if p.take(key, secret, time.Minute) || p.run(p.extend, key, secret, time.Hour) || p.run(p.release, key, secret, 0) {
				t.Error("a lock of Mortise is taken, extended or released")
			}
			unlock(t, s, key, "o")
			if !p.take(key, secret, 300*time.Millisecond) {
				t.Error("a lock that Mortise released must be granted")
			}
			startLock(t, s, request(key, "o", time.Minute), 1).granted() // after the TTL
		}
	})
}

func TestOtherPrograms_Get(t *testing.T) {
	t.Parallel()
	forEachProgram(t, func(t *testing.T, s *Store, p otherProgram) {
		for _, key := range []string{"report", "lock||app||report"} {
			p.take(key, secret, time.Minute)
			p.take(key+"-2", secret, time.Minute)
			startLock(t, s, request(key, "o", time.Minute), 1)
			l, err := s.Get(t.Context(), key)
			if err != nil || l.Remaining < 50*time.Second || l.Remaining > time.Minute {
				t.Errorf("get: %+v, %v", l, err)
			}
			l.Remaining = 0
			if want := (stores.LockInfo{Key: key, Owner: secret, Waiters: 1}); l.Key != want.Key || l.Owner != want.Owner ||
				l.Waiters != want.Waiters || l.Token != 0 || l.TTL != 0 || l.DeclaredTTL != 0 {
				t.Errorf("get: %+v, want %+v", l, want)
			}
		}
		if l, err := s.Get(t.Context(), "repor"); !errors.Is(err, stores.ErrNotHeld) {
			t.Errorf("get of a prefix: %+v, %v", l, err)
		}
	})
}

// TestOtherPrograms_List covers strings that expire, which programs may use for caching.
func TestOtherPrograms_List(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	client.Set(t.Context(), "session", "confidential", time.Minute)
	client.Set(t.Context(), "session-1", "confidential", time.Minute)
	client.HSet(t.Context(), "lock||hash", "f", "v")
	client.Set(t.Context(), "lock||forever", "v", 0)
	for _, prefix := range []string{"", "s", "session", "session-1", "lock||", "lock||hash", "l"} {
		if list, err := s.List(t.Context(), prefix); err != nil || len(list) != 0 {
			t.Errorf("list %q: %+v, %v", prefix, list, err)
		}
		w := startWatch(t, s, prefix)
		w.waitForState(s, prefix)
		w.cancel()
	}
}

// TestOtherPrograms_End tries to end strings that expire. A caller that knows the value
// can, and for keys of daprd's form any operator can.
func TestOtherPrograms_End(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	unlock := func(owner string) func(string) error {
		return func(key string) error { return s.Unlock(t.Context(), key, owner) }
	}
	revoke := func(owner string) func(string) error {
		return func(key string) error { return s.Revoke(t.Context(), key, owner) }
	}
	renew := func(owner string) func(string) error {
		return func(key string) error { return grantErr(s.Renew(t.Context(), request(key, owner, time.Hour))) }
	}
	withdraw := func(key string) error { return s.Withdraw(t.Context(), group, key) }
	for _, row := range []struct {
		name       string
		do         func(key string) error
		any, dapr  error
		ends, adds bool
	}{
		{"unlock by its value", unlock(secret), nil, nil, true, false},
		{"unlock by another", unlock("o"), stores.ErrNotOwner, stores.ErrNotOwner, false, false},
		{"revoke by its value", revoke(secret), nil, nil, true, false},
		{"revoke from another", revoke("o"), stores.ErrNotOwner, stores.ErrNotOwner, false, false},
		{"revoke from anyone", revoke(""), stores.ErrNotLock, nil, true, false},
		{"withdraw", withdraw, stores.ErrNotLock, nil, true, false},
		{"renew by its value", renew(secret), nil, nil, false, true},
		{"renew by another", renew("o"), stores.ErrNotOwner, stores.ErrNotOwner, false, false},
	} {
		for key, want := range map[string]error{"report": row.any, "lock||app||report": row.dapr} {
			client.Del(t.Context(), key)
			declare(t, s, group, key, time.Minute)
			client.Set(t.Context(), key, secret, time.Minute)
			if err := row.do(key); !errors.Is(err, want) {
				t.Errorf("%s of %q: %v, want %v", row.name, key, err, want)
			}
			left, stays := client.PTTL(t.Context(), key).Val(), want != nil || !row.ends
			if stays != (client.Get(t.Context(), key).Val() == secret) || row.adds != (left > time.Minute) {
				t.Errorf("%s of %q: it must exist: %t, TTL %v", row.name, key, stays, left)
			}
			_ = s.Withdraw(t.Context(), group, key)
			client.Del(t.Context(), key)
			_ = s.Withdraw(t.Context(), group, key)
		}
	}
}

// TestStore_ExpiryRemoved removes the expiry of a lock of Mortise.
func TestStore_ExpiryRemoved(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	token := lock(t, s, "k", "o", time.Minute)
	client.Persist(t.Context(), "k")
	if g, err := s.TryLock(t.Context(), request("k", "p", time.Minute)); err != nil || g.Acquired {
		t.Errorf("granted twice: %+v, %v", g, err)
	}
	w := startLock(t, s, request("k", "p", time.Minute), 1)
	list, err := s.List(t.Context(), "")
	if err != nil || len(list) != 1 || list[0].Token != token || list[0].Remaining < 50*time.Second {
		t.Errorf("list: %+v, %v", list, err)
	}
	startWatch(t, s, "").waitForState(s, "")
	if _, err := s.Renew(t.Context(), request("k", "o", time.Minute)); err != nil || client.PTTL(t.Context(), "k").Val() < 0 {
		t.Errorf("renew: %v", err)
	}
	client.Persist(t.Context(), "k")
	unlock(t, s, "k", "o")
	w.granted()

	client.Persist(t.Context(), "k")
	client.PExpire(t.Context(), recordPrefix+"k", time.Millisecond)
	startLock(t, s, request("k", "q", time.Minute), 0).failsWith(stores.ErrNotLock)
	if client.Get(t.Context(), "k").Val() != "p" {
		t.Error("a string without expiry and record must not change")
	}
}

// TestList_DaprLocks lists locks of daprd, which are found by their keys instead of their
// records.
func TestList_DaprLocks(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	lock(t, s, "lock||app||ours", "o", time.Minute)
	lock(t, s, "lock|", "o", time.Minute)
	lock(t, s, "order", "o", time.Minute)
	client.SetNX(t.Context(), "lock||app||theirs", "o", time.Minute)
	all := []string{"lock|", "lock||app||ours", "lock||app||theirs", "order"}
	for prefix, want := range map[string][]string{
		"": all, "l": all[:3], "lock|": all[:3], "lock||": all[1:3], "lock||app||t": all[2:3], "o": all[3:], "lock||b": nil, "x": nil,
	} {
		list, err := s.List(t.Context(), prefix)
		var keys []string
		for _, l := range list {
			keys = append(keys, l.Key)
		}
		if err != nil || !slices.Equal(keys, want) {
			t.Errorf("%q: %q, %v, want %q", prefix, keys, err, want)
		}
	}
}

func TestRevoke_LockRedisHolds(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	const key = "lock||app||r"
	client.SetNX(t.Context(), key, "theirs", time.Minute)
	if err := s.Revoke(t.Context(), key, ""); err != nil || client.Exists(t.Context(), key).Val() != 0 {
		t.Errorf("revoke: %v", err)
	}
}

// TestToken_InvalidLastToken writes tokens that Mortise never draws.
func TestToken_InvalidLastToken(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	last := lock(t, s, "k", "o", time.Minute)
	for _, text := range []string{"no number", "", "nan", "inf", "-inf", "1e300", "9007199254740992", "9007199254740991"} {
		for _, seen := range []uint64{0, 1<<53 - 1, 1 << 53, 1<<64 - 1} {
			client.Set(t.Context(), tokenKey, text, 0)
			s.maxToken.Store(seen)
			for range 2 {
				unlock(t, s, "k", "o")
				token := lock(t, s, "k", "o", time.Minute)
				if token <= last || token > last+1e9 {
					t.Fatalf("the last token is %q, the largest seen %d: token %d after %d", text, seen, token, last)
				}
				last = token
			}
		}
	}
}
