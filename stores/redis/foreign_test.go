package redis

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// TestOtherDataCannotBeFreed tries to end strings that are no locks, also by who guesses what they are.
func TestOtherDataCannotBeFreed(t *testing.T) {
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	for _, row := range []struct {
		key string
		ttl time.Duration
	}{{"session:42", 0}, {"session:43", time.Minute}, {"lock||that never ends", 0}} {
		client.Set(t.Context(), row.key, "data", row.ttl)
		declare(t, s, group, row.key, time.Minute)
		renew := func(owner string) error {
			return errOf(s.Renew(t.Context(), request(row.key, owner, time.Hour)))
		}
		for _, try := range []struct {
			name string
			err  error
		}{
			{"unlock", s.Unlock(t.Context(), row.key, "data")},
			{"unlock by another", s.Unlock(t.Context(), row.key, "o")},
			{"revoke", s.Revoke(t.Context(), row.key, "data")},
			{"revoke from whoever", s.Revoke(t.Context(), row.key, "")},
			{"renew", renew("data")},
			{"renew by another", renew("o")},
		} {
			if !errors.Is(try.err, stores.ErrNotHeld) {
				t.Errorf("%s of %q: %v", try.name, row.key, try.err)
			}
		}
		if err := s.Withdraw(t.Context(), group, row.key); err == nil || !strings.Contains(err.Error(), "no lock") {
			t.Errorf("withdraw %q: %v", row.key, err)
		}
		if left := client.PTTL(t.Context(), row.key).Val(); client.Get(t.Context(), row.key).Val() != "data" || left > time.Minute {
			t.Errorf("%q is changed", row.key)
		}
	}
}

func TestALockOfLockRedisIsRevokedFromWhoeverHoldsIt(t *testing.T) {
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	const key = "lock||app||r"
	client.SetNX(t.Context(), key, "theirs", time.Minute)
	if err := s.Revoke(t.Context(), key, ""); err != nil || client.Exists(t.Context(), key).Val() != 0 {
		t.Errorf("revoke: %v", err)
	}
}

// TestTokensGrowThoughTheLastIsSpoilt has somebody write what no Mortise draws.
func TestTokensGrowThoughTheLastIsSpoilt(t *testing.T) {
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	last := lock(t, s, "k", "o", time.Minute)
	for _, text := range []string{"no number", "", "nan", "inf", "-inf", "1e300", "9007199254740992", "9007199254740991"} {
		for _, seen := range []uint64{0, 1<<53 - 1, 1 << 53, 1<<64 - 1} {
			client.Set(t.Context(), tokenKey, text, 0)
			s.seen.Store(seen)
			for range 2 {
				unlock(t, s, "k", "o")
				token := lock(t, s, "k", "o", time.Minute)
				if token <= last || token > last+1e9 {
					t.Fatalf("the last token is %q, one saw %d: token %d after %d", text, seen, token, last)
				}
				last = token
			}
		}
	}
}
