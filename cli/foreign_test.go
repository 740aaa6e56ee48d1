package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/test/inprocess"
	"github.com/mortise-lock/mortise/test/servers"
)

// startServerWithRedis starts a Mortise with the store redis.
func startServerWithRedis(t *testing.T) (*server, *servers.Redis) {
	t.Helper()
	redis := servers.StartRedis(t)
	resource := strings.Replace(inprocess.Resource, "value: memory", "value: redis\n    - name: redisHost\n      value: "+redis.Addr, 1)
	return startServer(t, func(c *inprocess.Config) { c.Resource = resource }), redis
}

func TestForeignData(t *testing.T) {
	s, redis := startServerWithRedis(t)
	client := redis.Client()
	client.HSet(t.Context(), "order-1", "total", 5)
	client.Set(t.Context(), "order-2", "x", 0)
	s.lock(t, "order-10") // a key with the data's key as its prefix
	for _, key := range []string{"order-1", "order-2"} {
		for _, args := range [][]string{
			{"get", key}, {"get", key, "-o", "json"}, {"revoke", key, "--force"}, {"revoke", key, "--owner", "x"},
			{"lock", key, "--", "true"}, {"lock", key, "--wait", "1h", "--", "true"},
		} {
			r := s.run(t, args...)
			if r.code != exitFailed || r.out != "" || !strings.Contains(r.err, "key holds data that is not a lock") {
				t.Errorf("%v: %+v", args, r)
			}
		}
	}
	if client.HGet(t.Context(), "order-1", "total").Val() != "5" || client.Get(t.Context(), "order-2").Val() != "x" {
		t.Error("the data has changed")
	}
	if r := s.run(t, "list", "order-1"); r.code != exitSuccess || !strings.Contains(r.out, "order-10") {
		t.Errorf("list: %+v", r)
	}
}

// TestForeignLock checks the commands with a lock of node-redlock.
func TestForeignLock(t *testing.T) {
	s, redis := startServerWithRedis(t)
	client := redis.Client()
	client.SetNX(t.Context(), "report", "6f1e1d0c", time.Hour)
	r := s.run(t, "get", "report")
	if r.code != exitSuccess || !strings.HasPrefix(r.out, "key      report\nowner    6f1e1d0c\ntoken    -\nttl      -\nleft     ") {
		t.Errorf("get: %+v", r)
	}
	var got lockJSON
	if err := json.Unmarshal([]byte(s.run(t, "get", "report", "-o", "json").out), &got); err != nil || got.Owner != "6f1e1d0c" || got.RemainingMs <= 0 {
		t.Errorf("get: %+v, %v", got, err)
	}
	if r := s.run(t, "lock", "report", "--wait", "10ms", "--", "true"); r.code != exitConflict {
		t.Errorf("lock: %+v", r)
	}
	if r := s.run(t, "revoke", "report", "--force"); r.code != exitFailed || client.Exists(t.Context(), "report").Val() != 1 {
		t.Errorf("revoke --force: %+v", r)
	}
	if r := s.run(t, "revoke", "report", "--owner", "6f1e1d0c"); r.code != exitSuccess || client.Exists(t.Context(), "report").Val() != 0 {
		t.Errorf("revoke from its owner: %+v", r)
	}
}
