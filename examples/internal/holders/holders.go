// Package holders makes the tokens that the tests of the guards need, with a real lock.
package holders

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

const ttl = 10 * time.Second

// Two lets ann take the lock of the key, pause until her lease is over, and bob take it
// after her. It returns their tokens.
func Two(t *testing.T, key string) (stale, fresh uint64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := memory.NewProcess().Backend().Open(t.Context(), stores.Component{Name: "locks", Log: logger.NewLogger("test")})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		stale = take(t, s, key, "ann")
		time.Sleep(ttl)
		fresh = take(t, s, key, "bob")
	})
	return stale, fresh
}

func take(t *testing.T, s stores.Store, key, owner string) uint64 {
	t.Helper()
	grant, err := s.TryLock(t.Context(), stores.Request{Key: key, Owner: owner, TTL: ttl})
	if err != nil || !grant.Acquired {
		t.Fatalf("%s did not get the lock: %v", owner, err)
	}
	return grant.Token
}
