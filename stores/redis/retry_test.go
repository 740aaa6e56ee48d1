package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// TestStore_ContextEndsInOutage ends the contexts of calls during their retries.
func TestStore_ContextEndsInOutage(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		fail func(t *testing.T, server *servers.Redis)
		want string
	}{
		{"it is killed", func(_ *testing.T, server *servers.Redis) { server.Stop() }, "connection refused"},
		{"it has become a replica", func(t *testing.T, server *servers.Redis) { do(t, server, "REPLICAOF 127.0.0.1 1") }, "READONLY"},
		{"it has lost its replicas", func(t *testing.T, server *servers.Redis) {
			do(t, server, "CONFIG SET min-replicas-to-write 1")
		}, "NOREPLICAS"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := servers.StartRedis(t)
			s := openStore(t, "redisHost", server.Addr, "redisMaxRetries", "1000000", "redisMaxRetryInterval", "50ms")
			lock(t, s, "held", "o", time.Minute)
			row.fail(t, server)
			for name, call := range map[string]func(context.Context) error{
				"try lock": func(ctx context.Context) error { return grantErr(s.TryLock(ctx, request("k", "o", time.Minute))) },
				"lock":     func(ctx context.Context) error { return grantErr(s.Lock(ctx, request("k", "o", time.Minute))) },
				"renew":    func(ctx context.Context) error { return grantErr(s.Renew(ctx, request("held", "o", time.Minute))) },
				"unlock":   func(ctx context.Context) error { return s.Unlock(ctx, "held", "o") },
				"ping":     s.Ping,
			} {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				err := call(ctx)
				cancel()
				if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), row.want) || errors.Is(err, stores.ErrRefused) {
					t.Errorf("%s: %v", name, err)
				}
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(300*time.Millisecond, cancel)
				if err := call(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), row.want) {
					t.Errorf("%s, cancelled: %v", name, err)
				}
				cancel()
			}
		})
	}
}

// TestLock_ContextEndsInOutage covers waits in a queue, which survive an outage of Redis,
// and watches.
func TestLock_ContextEndsInOutage(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	lock(t, s, "k", "holder", time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watching, watched := make(chan struct{}), make(chan error, 1)
	go func() { watched <- s.Watch(ctx, "", func(stores.Event) error { close(watching); return nil }) }()
	<-watching
	w := startLock(t, s, request("k", "o", time.Minute), 1)
	server.Stop()
	eventually(t, "the outage is recorded", func() bool {
		err := s.outage.lastError()
		return err != nil && strings.Contains(err.Error(), "connection refused")
	})
	cancel()
	w.cancel()
	_, err := w.result()
	for name, err := range map[string]error{"lock": err, "watch": <-watched} {
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLock_ContextEndsAfterOutage(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	server.Stop()
	_ = s.Ping(t.Context())
	server.Start()
	eventually(t, "it answers again", func() bool { return s.Ping(t.Context()) == nil })
	lock(t, s, "k", "holder", time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(ctx, request("k", "o", time.Minute)); err == nil || err.Error() != `redis: lock "k": context deadline exceeded` {
		t.Errorf("got %v", err)
	}
}

// TestRetrier_Retries counts the commands that a failing server receives.
func TestRetrier_Retries(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		retries string
		answer  string
		want    int64
	}{
		{"-1", "LOADING it loads", 1},
		{"2", "LOADING it loads", 3},
		{"", "READONLY no", 4},
		{"2", "OOM no", 1},
		{"2", "NOPERM no", 1},
		{"2", "", 3}, // the server closes the connection
	} {
		t.Run(fmt.Sprintf("%s retries after %q", row.retries, row.answer), func(t *testing.T) {
			var sent atomic.Int64
			addr := startFakeServer(t, func(command string) string {
				if command != "get" {
					return "-ERR unknown command\r\n"
				}
				if sent.Add(1); row.answer == "" {
					return ""
				}
				return "-" + row.answer + "\r\n"
			})
			c, err := parseConfig(map[string]string{"redisHost": addr, "redisMaxRetries": row.retries})
			if err != nil {
				t.Fatal(err)
			}
			options, err := c.options()
			if err != nil {
				t.Fatal(err)
			}
			s := newStore(options)
			t.Cleanup(func() { _ = s.client.Close() })
			if err := s.client.Get(t.Context(), "k").Err(); err == nil {
				t.Error("the command must fail")
			}
			if sent.Load() != row.want {
				t.Errorf("sent %d times, want %d", sent.Load(), row.want)
			}
		})
	}
}

func TestRetrier_Backoff(t *testing.T) {
	t.Parallel()
	r := &retrier{minBackoff: 10 * time.Millisecond, maxBackoff: time.Second}
	for n := 1; n < 100; n++ {
		if d := r.backoff(n); d < r.minBackoff || d > r.maxBackoff {
			t.Errorf("pause %d is %v", n, d)
		}
	}
	if d := (&retrier{maxBackoff: time.Second}).backoff(3); d != 0 {
		t.Errorf("without pauses: %v", d)
	}
}

// TestOutage_ConcurrentCalls is for the race detector.
func TestOutage_ConcurrentCalls(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	var calls sync.WaitGroup
	for i := range 8 {
		calls.Go(func() {
			for n := range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				// Calls may fail during the outage.
				_, _ = s.TryLock(ctx, request(fmt.Sprint(i, n), "o", time.Minute))
				cancel()
			}
		})
	}
	server.Stop()
	server.Start()
	calls.Wait()
	eventually(t, "the outage is over", func() bool { return s.Ping(t.Context()) == nil && s.outage.lastError() == nil })
}
