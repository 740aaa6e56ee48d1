package fencedredis_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/examples/fencedredis"
	"github.com/mortise-lock/mortise/examples/internal/holders"
	"github.com/mortise-lock/mortise/test/servers"
)

const maxToken = 1 << 53 // tokens are smaller

func value(t *testing.T, client *goredis.Client, key string) string {
	t.Helper()
	value, err := client.HGet(t.Context(), key, "value").Result()
	if err != nil && !errors.Is(err, goredis.Nil) {
		t.Fatal(err)
	}
	return value
}

func TestSet_StaleHolder(t *testing.T) {
	client := servers.StartRedis(t).Client()
	stale, fresh := holders.StaleAndFresh(t, "order-1")
	if err := fencedredis.Set(t.Context(), client, "order-1", "sent by bob", fresh); err != nil {
		t.Fatal(err)
	}
	if err := fencedredis.Set(t.Context(), client, "order-1", "sent by ann", stale); !errors.Is(err, fencedredis.ErrStale) {
		t.Errorf("the stale holder: %v", err)
	}
	if got := value(t, client, "order-1"); got != "sent by bob" {
		t.Errorf("the order is %q", got)
	}
}

func TestExample(t *testing.T) {
	locks, end := holders.Serve()
	defer end()
	client := servers.StartRedis(t).Client()
	for range 2 { // the second time with a larger token
		if err := ship(t.Context(), locks, client, "order-1"); err != nil {
			t.Error(err)
		}
	}
	if got := value(t, client, "order-1"); got != "sent" {
		t.Errorf("the order is %q", got)
	}
	if err := fencedredis.Set(t.Context(), client, "order-1", "stale", 1); !errors.Is(err, fencedredis.ErrStale) {
		t.Errorf("a stale holder: %v", err)
	}
}

func TestSet_Sequence(t *testing.T) {
	client := servers.StartRedis(t).Client()
	type write struct {
		token   uint64
		written bool
	}
	for _, row := range []struct {
		name   string
		writes []write
	}{
		{"the first write of a missing key", []write{{5, true}}},
		{"several writes of one holder", []write{{5, true}, {5, true}, {5, true}}},
		{"a holder that continues after a later one", []write{{5, true}, {6, true}, {5, false}, {6, true}}},
		{"no token, on a missing key", []write{{0, false}, {5, true}}},
		{"no token, on a written key", []write{{5, true}, {0, false}}},
		{"the largest tokens differ by one", []write{{maxToken - 1, true}, {maxToken, true}, {maxToken - 1, false}}},
		{"tokens are compared as numbers", []write{{9, true}, {10, true}, {9, false}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			key, want := t.Name(), ""
			for i, w := range row.writes {
				text := fmt.Sprint("write ", i)
				err := fencedredis.Set(t.Context(), client, key, text, w.token)
				if w.written {
					want = text
				}
				if w.written && err != nil || !w.written && !errors.Is(err, fencedredis.ErrStale) {
					t.Errorf("write %d with token %d: %v", i, w.token, err)
				}
				if got := value(t, client, key); got != want {
					t.Errorf("after write %d the value is %q, want %q", i, got, want)
				}
			}
		})
	}
}

func TestSet_TokenPrecision(t *testing.T) {
	client := servers.StartRedis(t).Client()
	if err := fencedredis.Set(t.Context(), client, "order-1", "sent", maxToken-1); err != nil {
		t.Fatal(err)
	}
	token, err := client.HGet(t.Context(), "order-1", "token").Uint64()
	if err != nil || token != maxToken-1 {
		t.Errorf("the token is %d, %v", token, err)
	}
}

func TestSet_OtherErrors(t *testing.T) {
	redis := servers.StartRedis(t)
	client := redis.Client()
	if err := client.Set(t.Context(), "plain", "a string", 0).Err(); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	unreachable := redis.Client(func(o *goredis.Options) { o.Addr, o.MaxRetries = "127.0.0.1:1", -1 })
	for _, row := range []struct {
		name   string
		ctx    context.Context
		client *goredis.Client
		key    string
	}{
		{"a context that has ended", ended, client, "order-1"},
		{"a key of another type", t.Context(), client, "plain"},
		{"no Redis", t.Context(), unreachable, "order-1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := fencedredis.Set(row.ctx, row.client, row.key, "sent", 5)
			if err == nil || errors.Is(err, fencedredis.ErrStale) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSet_SameToken(t *testing.T) {
	client := servers.StartRedis(t).Client()
	var writers sync.WaitGroup
	for i := range 16 {
		writers.Go(func() {
			if err := fencedredis.Set(t.Context(), client, "order-1", fmt.Sprint("part ", i), 5); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
}

// In any order of the writes, the one with the largest token is the last.
func TestSet_LargestTokenWins(t *testing.T) {
	client := servers.StartRedis(t).Client()
	const last = 64
	var writers sync.WaitGroup
	for token := range uint64(last) {
		writers.Go(func() {
			err := fencedredis.Set(t.Context(), client, "order-1", fmt.Sprint("by ", token+1), token+1)
			if err != nil && !errors.Is(err, fencedredis.ErrStale) {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if got, want := value(t, client, "order-1"), fmt.Sprint("by ", last); got != want {
		t.Errorf("the value is %q, want %q", got, want)
	}
}
