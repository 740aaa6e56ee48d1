package redis

import (
	"testing"
	"time"

	"github.com/mortise-lock/mortise/test/servers"
)

// TestARepeatedRevokeEndsOneLock loses the answer to a Revoke from whoever holds the lock, while two others wait for it.
func TestARepeatedRevokeEndsOneLock(t *testing.T) {
	server := servers.StartRedis(t)
	proxy := servers.StartProxy(t, server.Addr)
	s, direct := openStore(t, "redisHost", proxy.Addr), openStore(t, "redisHost", server.Addr)
	lock(t, s, "k", "warm up", time.Minute)
	unlock(t, s, "k", "warm up") // Redis learns the script
	lock(t, s, "k", "holder", time.Minute)
	first := startLock(t, direct, request("k", "first", time.Minute), 1)
	second := startLock(t, direct, request("k", "second", time.Minute), 2)
	for _, next := range []*waiting{first, second} {
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
		t.Errorf("while nobody waits: %v", err)
	}
}
