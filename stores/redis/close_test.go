package redis

import (
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

func TestLock_IdleTimeout(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	for round := range 2 {
		lock(t, s, "k", "holder", time.Minute)
		w := startLock(t, s, request("k", "o", time.Minute), 1)
		if n := len(client.PubSubChannels(t.Context(), wakePrefix+"*").Val()); n != 1 {
			t.Errorf("round %d: %d channels", round, n)
		}
		unlock(t, s, "k", "holder")
		w.granted()
		unlock(t, s, "k", "o")
		eventually(t, "the store is not subscribed", func() bool { return len(client.PubSubChannels(t.Context(), "*").Val()) == 0 })
	}
	onlyTheTokenIsLeft(t, s)
}

// TestClose_EndsWaits counts goroutines, so it does not run in parallel.
func TestClose_EndsWaits(t *testing.T) {
	server := servers.StartRedis(t)
	other := openStore(t, "redisHost", server.Addr)
	lock(t, other, "k", "holder", time.Minute)
	before := runtime.NumGoroutine()
	s, err := tryOpen(t.Context(), "redisHost", server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make(chan error, 2)
	wg.Go(func() {
		_, err := s.(*Store).Lock(t.Context(), request("k", "o", time.Minute))
		errs <- err
	})
	watching := make(chan struct{})
	wg.Go(func() {
		errs <- s.(*Store).Watch(t.Context(), "", func(stores.Event) error { close(watching); return nil })
	})
	<-watching
	eventually(t, "the waiter is queued", func() bool { return waiters(t, other, "k") == 1 })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	for range 2 {
		if err := <-errs; !errors.Is(err, stores.ErrClosed) {
			t.Errorf("ended with %v", err)
		}
	}
	if n := waiters(t, other, "k"); n != 0 {
		t.Error("the waiter must have left the queue")
	}
	if _, err := s.(*Store).Lock(t.Context(), request("k2", "o", time.Minute)); !errors.Is(err, stores.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// TestClose_RedisHangs closes a store whose waiter cannot leave.
func TestClose_RedisHangs(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	lock(t, s, "k", "holder", time.Minute)
	w := startLock(t, s, request("k", "o", time.Minute), 1)
	resume := server.Pause()
	defer resume()
	start := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
	if _, err := w.result(); !errors.Is(err, stores.ErrClosed) {
		t.Errorf("the waiter returned %v", err)
	}
}
