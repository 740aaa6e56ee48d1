package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// TestRevoke_LostAnswer loses the answer to a Revoke without an owner, while two others
// wait for the lock.
func TestRevoke_LostAnswer(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	proxy := servers.StartProxy(t, server.Addr)
	s, direct := openStore(t, "redisHost", proxy.Addr), openStore(t, "redisHost", server.Addr)
	lock(t, s, "k", "warm up", time.Minute)
	unlock(t, s, "k", "warm up") // loads the script into Redis
	lock(t, s, "k", "holder", time.Minute)
	first := startLock(t, direct, request("k", "first", time.Minute), 1)
	second := startLock(t, direct, request("k", "second", time.Minute), 2)
	for _, next := range []*lockCall{first, second} {
		proxy.LoseAnswers(1)
		if err := s.Revoke(t.Context(), "k", ""); err != nil {
			t.Error(err)
		}
		if !proxy.Lost() {
			t.Fatal("no answer was lost")
		}
		next.granted()
		if next == first && waiters(t, direct, "k") != 1 {
			t.Error("the lock was revoked twice")
		}
	}
	proxy.LoseAnswers(1)
	if err := s.Revoke(t.Context(), "k", ""); err != nil {
		t.Errorf("without waiters: %v", err)
	}
}

// enqueue queues a request, without a call that waits for its grant.
func (w *waiter) enqueue(t *testing.T, s *Store) {
	t.Helper()
	if g, err := s.request(t.Context(), w, true); err != nil || g.Acquired {
		t.Fatal(g, err)
	}
}

func TestLock_DelayedRequestAfterRenew(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	w := s.newSingleWaiter(request("k", "o", 10*time.Second))
	for range 2 {
		if g, err := s.request(t.Context(), w, true); err != nil || !g.Acquired {
			t.Fatal(g, err)
		}
		if _, err := s.Renew(t.Context(), request("k", "o", time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if g, err := s.request(t.Context(), w, true); err != nil || !g.Acquired {
		t.Fatal(g, err)
	}
	for _, key := range []string{"k", recordPrefix + "k"} {
		if left := s.client.PTTL(t.Context(), key).Val(); left < 50*time.Second {
			t.Errorf("%q lasts for %v", key, left)
		}
	}
}

// TestDeadlock_RepeatedRequest repeats a waiter's first request after another request
// that waits for it was queued.
func TestDeadlock_RepeatedRequest(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	lock(t, s, "held", "us", time.Minute)
	lock(t, s, "wanted", "holder", time.Minute)
	first := s.newSingleWaiter(request("wanted", "us too", time.Minute, "us"))
	first.enqueue(t, s)
	s.newWaiter(stores.MultiRequest{Keys: []string{"wanted", "held"}, Owner: "other", TTL: time.Minute}).enqueue(t, s)
	first.arrival = 0 // the answer was lost
	first.enqueue(t, s)
}

func TestDeadlock_VisitsEachQueueOnce(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	keys := []string{"a", "b", "c"}
	for _, key := range keys {
		lock(t, s, key, "holder of "+key, time.Minute)
	}
	for i := range 100 {
		s.newWaiter(stores.MultiRequest{Keys: keys, Owner: fmt.Sprint("o", i), TTL: time.Minute}).enqueue(t, s)
	}
	s.client.ConfigResetStat(t.Context())
	s.newWaiter(stores.MultiRequest{Keys: keys, Owner: "last", TTL: time.Minute, Holding: []string{"x"}}).enqueue(t, s)
	stats := s.client.Info(t.Context(), "commandstats").Val()
	if !strings.Contains(stats, "cmdstat_zrangebyscore:calls=3,") {
		t.Errorf("must visit three queues once: %s", stats)
	}
}

// TestLock_GrantAfterCancel has Redis answer a request after its context was cancelled.
func TestLock_GrantAfterCancel(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	if g, err := s.Lock(t.Context(), request("warm up", "o", time.Minute)); err != nil || !g.Acquired {
		t.Fatal(g, err)
	}
	client.Do(t.Context(), "CLIENT", "PAUSE", "10000", "WRITE")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		g, err := s.Lock(ctx, request("k", "o", time.Minute))
		if g.Acquired {
			t.Errorf("granted %+v", g)
		}
		done <- err
	}()
	eventually(t, "Redis has received the request", func() bool {
		return strings.Contains(client.ClientList(t.Context()).Val(), "flags=b")
	})
	cancel()
	client.Do(t.Context(), "CLIENT", "UNPAUSE")
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if n := client.Exists(t.Context(), "k").Val(); n != 0 {
		t.Error("the lock must be free")
	}
}

// TestLock_DelayedRequestAfterLeave delivers a request to Redis after its repetition was
// answered and its waiter has left.
func TestLock_DelayedRequestAfterLeave(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	proxy := servers.StartProxy(t, server.Addr)
	s := openStore(t, "redisHost", proxy.Addr)
	lock(t, s, "k", "holder", time.Minute)
	s.newSingleWaiter(request("k", "o", time.Minute)).enqueue(t, s) // loads the script
	for _, claims := range []int{0, 1} {
		w := s.newSingleWaiter(request("k", "o", time.Minute))
		proxy.LoseAnswers(1)
		w.enqueue(t, s)
		if !proxy.Lost() {
			t.Fatal("no answer was lost")
		}
		for range claims {
			w.enqueue(t, s)
		}
		s.leave(t.Context(), w)
		w.arrival = 0
		if g, err := s.request(t.Context(), w, true); !errors.Is(err, errHasLeft) || g.Acquired {
			t.Errorf("after %d claims: %+v, %v", claims, g, err)
		}
		if n := waiters(t, s, "k"); n != 1 {
			t.Errorf("after %d claims: %d waiters", claims, n)
		}
	}
}
