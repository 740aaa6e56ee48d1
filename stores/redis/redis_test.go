package redis

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dapr/kit/logger"
	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// openStore opens a store with metadata given as pairs of key and value.
func openStore(t *testing.T, metadata ...string) *Store {
	t.Helper()
	s, err := tryOpen(t.Context(), metadata...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*Store)
}

func tryOpen(ctx context.Context, metadata ...string) (stores.Store, error) {
	md := map[string]string{}
	for i := 0; i < len(metadata); i += 2 {
		md[metadata[i]] = metadata[i+1]
	}
	return open(ctx, stores.Component{Name: "test", Metadata: md, Log: logger.NewLogger("test")})
}

// lock takes a lock that must be free and returns its token.
func lock(t *testing.T, s *Store, key, owner string, ttl time.Duration) uint64 {
	t.Helper()
	g, err := s.TryLock(t.Context(), stores.Request{Key: key, Owner: owner, TTL: ttl})
	if err != nil || !g.Acquired {
		t.Fatalf("lock %q for %q: %+v, %v", key, owner, g, err)
	}
	return g.Token
}

func unlock(t *testing.T, s *Store, key, owner string) {
	t.Helper()
	if err := s.Unlock(t.Context(), key, owner); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok returns true, for at most twenty seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("must be true within 20s: %s", what)
		}
	}
}

func TestTryLock_SameKeyAsLockRedis(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	lock(t, s, "lock||app||r", "owner", time.Minute)
	if got := client.Get(t.Context(), "lock||app||r").Val(); got != "owner" {
		t.Errorf("the value is %q, not the owner", got)
	}
	if ttl := client.TTL(t.Context(), "lock||app||r").Val(); ttl <= 58*time.Second || ttl > time.Minute {
		t.Errorf("the key lives for %v", ttl)
	}
}

// lockRedisUnlock is the script of lock.redis, captured from its connection.
const lockRedisUnlock = `local v = redis.call("get",KEYS[1]); if v==false then return -1 end; ` +
	`if v~=ARGV[1] then return -2 else return redis.call("del",KEYS[1]) end`

func TestStore_LockRedisHolds(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	const key = "lock||app||r"
	if !client.SetNX(t.Context(), key, "theirs", time.Minute).Val() {
		t.Fatal("SET NX must succeed")
	}
	if g, err := s.TryLock(t.Context(), stores.Request{Key: key, Owner: "ours", TTL: time.Minute}); err != nil || g.Acquired {
		t.Errorf("a lock that lock.redis holds: %+v, %v", g, err)
	}
	if err := s.Unlock(t.Context(), key, "ours"); !errors.Is(err, stores.ErrNotOwner) {
		t.Errorf("unlock of a lock of another program: %v", err)
	}
	g, err := s.Renew(t.Context(), stores.Request{Key: key, Owner: "theirs", TTL: time.Hour})
	if err != nil || !g.Acquired || g.Token != 0 {
		t.Errorf("renewal of a lock of another program: %+v, %v", g, err)
	}
	list, err := s.List(t.Context(), "lock||")
	if err != nil || len(list) != 1 || list[0].Owner != "theirs" || list[0].Token != 0 || list[0].Remaining < 59*time.Minute {
		t.Errorf("list: %+v, %v", list, err)
	}
	unlock(t, s, key, "theirs")

	lock(t, s, key, "ours", time.Minute)
	if client.SetNX(t.Context(), key, "theirs", time.Minute).Val() {
		t.Error("lock.redis takes a lock that Mortise holds")
	}
	if got := client.Eval(t.Context(), lockRedisUnlock, []string{key}, "theirs").Val(); got != int64(-2) {
		t.Errorf("lock.redis unlocks as another: %v", got)
	}
	if got := client.Eval(t.Context(), lockRedisUnlock, []string{key}, "ours").Val(); got != int64(1) {
		t.Errorf("lock.redis unlocks as the owner: %v", got)
	}
	if err := s.Unlock(t.Context(), key, "ours"); !errors.Is(err, stores.ErrNotHeld) {
		t.Errorf("unlock after lock.redis did: %v", err)
	}
}

// TestStore_StaleRecord covers the record that stays when lock.redis releases a lock that
// Mortise took.
func TestStore_StaleRecord(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	const key = "lock||app||r"
	old := lock(t, s, key, "ours", time.Minute)
	client.Del(t.Context(), key)
	client.SetNX(t.Context(), key, "theirs", time.Minute)
	list, err := s.List(t.Context(), "")
	if err != nil || len(list) != 1 || list[0].Token != 0 || list[0].TTL != 0 {
		t.Errorf("list: %+v, %v", list, err)
	}
	if g, err := s.Renew(t.Context(), stores.Request{Key: key, Owner: "theirs", TTL: time.Minute}); err != nil || g.Token != 0 {
		t.Errorf("renew: %+v, %v", g, err)
	}
	client.Del(t.Context(), key)
	if token := lock(t, s, key, "ours again", time.Minute); token <= old {
		t.Errorf("token %d after %d", token, old)
	}
}

func TestTryLock_LeavesNoKeys(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	for _, key := range []string{"a", "b", "c"} {
		lock(t, s, key, "o", time.Minute)
		unlock(t, s, key, "o")
		lock(t, s, key, "o", 50*time.Millisecond)
	}
	eventually(t, "only the last token is left", func() bool {
		keys := client.Keys(t.Context(), "*").Val()
		return len(keys) == 1 && keys[0] == tokenKey
	})
}

func TestToken_Grows(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	last := lock(t, s, "k", "o", time.Minute)
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"after an unlock", func() { unlock(t, s, "k", "o") }},
		{"after an expiry", func() { client.PExpire(t.Context(), "k", 0) }},
		{"from another client", func() { unlock(t, s, "k", "o"); s = openStore(t, "redisHost", server.Addr) }},
		{"when the last token is ahead of the clock", func() {
			client.FlushAll(t.Context())
			client.Set(t.Context(), tokenKey, last+1e12, 0)
		}},
		{"when Redis restarts without data and its clock is behind", func() { server.Stop(); server.Start() }},
		{"when Redis has lost the scripts", func() { unlock(t, s, "k", "o"); client.ScriptFlush(t.Context()) }},
	} {
		step.do()
		token := lock(t, s, "k", "o", time.Minute)
		if token <= last {
			t.Errorf("%s: token %d, the one before was %d", step.name, token, last)
		}
		last = token
	}
}

// commandRecorder records the names of the commands that a client sends.
type commandRecorder struct{ names []string }

func (c *commandRecorder) DialHook(next goredis.DialHook) goredis.DialHook { return next }
func (c *commandRecorder) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		c.names = append(c.names, cmd.Name())
		return next(ctx, cmd)
	}
}

func (c *commandRecorder) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		c.names = append(c.names, "pipeline")
		return next(ctx, cmds)
	}
}

func TestStore_RoundTrips(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	cycle := func() {
		lock(t, s, "k", "o", time.Minute)
		if _, err := s.Renew(t.Context(), stores.Request{Key: "k", Owner: "o", TTL: time.Minute}); err != nil {
			t.Fatal(err)
		}
		unlock(t, s, "k", "o")
	}
	cycle() // loads the scripts into Redis
	var sent commandRecorder
	s.client.AddHook(&sent)
	cycle()
	if got := strings.Join(sent.names, " "); got != "evalsha evalsha evalsha" {
		t.Errorf("try lock, renew and unlock sent: %s", got)
	}
}

// TestTryLock_LostAnswer cuts the connection after Redis has granted the lock. The
// request is repeated, and must return its own grant.
func TestTryLock_LostAnswer(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	proxy := servers.StartProxy(t, server.Addr)
	s := openStore(t, "redisHost", proxy.Addr)
	lock(t, s, "warm up", "o", time.Minute)
	proxy.LoseAnswers(1)
	token := lock(t, s, "k", "o", time.Minute)
	if !proxy.Lost() {
		t.Fatal("no answer was lost")
	}
	if list, err := s.List(t.Context(), "k"); err != nil || len(list) != 1 || list[0].Token != token {
		t.Errorf("granted token %d, list %+v, %v", token, list, err)
	}
	if g, err := s.TryLock(t.Context(), stores.Request{Key: "k", Owner: "o", TTL: time.Minute}); err != nil || g.Acquired {
		t.Errorf("another request of the same owner: %+v, %v", g, err)
	}
}

func TestOpen_Errors(t *testing.T) {
	t.Parallel()
	const password = "hunter2"
	locked := servers.StartRedis(t, "--requirepass", "right")
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	// The listener accepts connections and never answers.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for _, row := range []struct {
		name     string
		metadata []string
		want     string
	}{
		{"wrong password", []string{"redisHost", locked.Addr, "redisPassword", password}, "WRONGPASS"},
		{"no password", []string{"redisHost", locked.Addr}, "NOAUTH"},
		{"a closed port", []string{"redisHost", gone.Addr().String(), "redisPassword", password}, "connection refused"},
		{"a server that does not answer", []string{"redisHost", silent.Addr().String(), "redisPassword", password}, "deadline exceeded"},
		{"TLS that the server does not speak", []string{"redisHost", locked.Addr, "enableTLS", "true"}, "connect"},
		{"a database that is not there", []string{"redisHost", locked.Addr, "redisPassword", "right", "redisDB", "99"}, "out of range"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			start := time.Now()
			_, err := tryOpen(ctx, row.metadata...)
			if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), password) {
				t.Errorf("error %v, want one about %q", err, row.want)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("took %v, the deadline was after 2s", took)
			}
		})
	}
}

func TestTryLock_RedisRestarts(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	server.Stop()
	_, err := s.TryLock(t.Context(), stores.Request{Key: "k", Owner: "o", TTL: time.Minute})
	if err == nil || !strings.Contains(err.Error(), `redis: try lock "k"`) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("while Redis is stopped: %v", err)
	}
	server.Start()
	lock(t, s, "k", "o", time.Minute)
}

func TestTryLock_Deadline(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	client.Do(t.Context(), "CLIENT", "PAUSE", "5000", "WRITE")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := s.TryLock(ctx, stores.Request{Key: "k", Owner: "o", TTL: time.Minute})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestWrap_Deadline wraps go-redis's error for a dial timeout.
func TestWrap_Deadline(t *testing.T) {
	t.Parallel()
	dialer := net.Dialer{Timeout: time.Nanosecond}
	_, dial := dialer.DialContext(t.Context(), "tcp", "127.0.0.1:1")
	over, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for _, row := range []struct {
		name string
		ctx  context.Context
		err  error
		want bool
	}{
		{"dialling took too long", t.Context(), dial, false},
		{"a call on behalf of a watcher took too long", t.Context(), context.DeadlineExceeded, false},
		{"the caller's deadline is over", over, context.DeadlineExceeded, true},
		{"the caller's deadline is over while dialling", over, dial, true},
	} {
		err := wrap(row.ctx, "watch", "k", row.err)
		if errors.Is(err, context.DeadlineExceeded) != row.want || !strings.Contains(err.Error(), row.err.Error()) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}
