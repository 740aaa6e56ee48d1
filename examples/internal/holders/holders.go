// Package holders provides tokens of real locks, and a server, for the tests of the
// examples.
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

// StaleAndFresh returns the tokens of two holders of the lock: of one whose TTL has
// passed, and of the next one.
func StaleAndFresh(t *testing.T, key string) (stale, fresh uint64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := memory.NewProcess().Backend().Open(t.Context(), stores.Component{Name: "locks", Log: logger.NewLogger("test")})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		stale = tryLock(t, s, key, "ann")
		time.Sleep(ttl)
		fresh = tryLock(t, s, key, "bob")
	})
	return stale, fresh
}

func tryLock(t *testing.T, s stores.Store, key, owner string) uint64 {
	t.Helper()
	grant, err := s.TryLock(t.Context(), stores.Request{Key: key, Owner: owner, TTL: ttl})
	if err != nil || !grant.Acquired {
		t.Fatalf("%s did not get the lock: %v", owner, err)
	}
	return grant.Token
}
