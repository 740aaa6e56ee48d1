package redis

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// do runs a command, whose words are separated by spaces, on a server or Sentinel.
func do(t *testing.T, server *servers.Redis, command string) {
	t.Helper()
	var args []any
	for _, field := range strings.Fields(command) {
		args = append(args, field)
	}
	if err := server.Client().Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
}

func TestOpen_RedisHostNamesSentinel(t *testing.T) {
	t.Parallel()
	primary := servers.StartRedis(t)
	sentinel := func(commands ...string) string {
		s := primary.StartSentinel("locks")
		for _, command := range commands {
			do(t, s, command)
		}
		return s.Addr
	}
	open := sentinel()
	for _, row := range []struct {
		name     string
		metadata []string
	}{
		{"it answers INFO", []string{"redisHost", open}},
		{"with a database", []string{"redisHost", open, "redisDB", "3"}},
		{"with the password of the primary", []string{"redisHost", open, "redisPassword", "secret"}},
		{"it denies INFO", []string{"redisHost", sentinel("ACL SETUSER default -info")}},
		{"it denies INFO and SENTINEL", []string{"redisHost", sentinel("ACL SETUSER default -info -sentinel")}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := tryOpen(t.Context(), row.metadata...)
			if err == nil || !strings.Contains(err.Error(), "redisHost names a Sentinel: set failover to true and sentinelMasterName") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOpen_WrongPassword(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t, "--requirepass", "right")
	for _, password := range []string{"", "wrong"} {
		_, err := tryOpen(t.Context(), "redisHost", server.Addr, "redisPassword", password)
		if err == nil || strings.Contains(err.Error(), "Sentinel") {
			t.Errorf("password %q: %v", password, err)
		}
	}
}

func TestOpen_SentinelErrors(t *testing.T) {
	t.Parallel()
	const password = "hunter2"
	primary := servers.StartRedis(t)
	sentinel, locked := primary.StartSentinel("locks"), primary.StartSentinel("locks")
	do(t, locked, "ACL SETUSER default resetpass >right")
	denying := primary.StartSentinel("locks")
	do(t, denying, "ACL SETUSER default -sentinel")
	for _, row := range []struct {
		name     string
		host     string
		metadata []string
		want     string
	}{
		{"another name", sentinel.Addr, []string{"sentinelMasterName", "lokcs"}, `knows no primary named "lokcs" (it knows ["locks"])`},
		{"another name, at each of two", sentinel.Addr + "," + primary.StartSentinel("locks").Addr,
			[]string{"sentinelMasterName", "lokcs"}, `knows no primary named "lokcs"`},
		{"no password", locked.Addr, nil, "check sentinelUsername and sentinelPassword: NOAUTH"},
		{"a wrong password", locked.Addr, []string{"sentinelPassword", password}, "check sentinelUsername and sentinelPassword: WRONGPASS"},
		{"a user that does not exist", sentinel.Addr,
			[]string{"sentinelUsername", "u", "sentinelPassword", password}, "WRONGPASS"},
		{"a user without the permission", denying.Addr, nil, "+sentinel|get-master-addr-by-name"},
		{"no Sentinel", primary.Addr, nil, "is not a Sentinel; with failover, redisHost must name the Sentinels"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			md := []string{"redisHost", row.host, "failover", "true"}
			if len(row.metadata) == 0 || row.metadata[0] != "sentinelMasterName" {
				md = append(md, "sentinelMasterName", "locks")
			}
			start := time.Now()
			_, err := tryOpen(t.Context(), append(md, row.metadata...)...)
			if !errors.Is(err, stores.ErrRefused) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			} else if strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "redis: nil") {
				t.Errorf("got %v", err)
			}
			if took := time.Since(start); took > openTimeout {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestOpen_OneSentinelAnswers has other Sentinels that are unreachable or do not know the
// primary.
func TestOpen_OneSentinelAnswers(t *testing.T) {
	t.Parallel()
	primary, gone := servers.StartRedis(t), servers.StartRedis(t)
	gone.Stop()
	other := primary.StartSentinel("other")
	s := openStore(t, "redisHost", strings.Join([]string{gone.Addr, other.Addr, primary.StartSentinel("locks").Addr}, ","),
		"failover", "true", "sentinelMasterName", "locks")
	lock(t, s, "k", "o", time.Minute)
}

// TestOpen_WaitsForSentinels covers Sentinels that are unreachable or do not know the
// primary.
func TestOpen_WaitsForSentinels(t *testing.T) {
	t.Parallel()
	primary := servers.StartRedis(t)
	gone, other := primary.StartSentinel("locks"), primary.StartSentinel("other")
	gone.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	md := []string{"redisHost", gone.Addr + "," + other.Addr, "failover", "true", "sentinelMasterName", "locks"}
	_, err := tryOpen(ctx, md...)
	if !errors.Is(err, stores.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{"connection refused", `no primary named "locks"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q must contain %q", err, want)
		}
	}
	gone.Start()
	openStore(t, md...)
}

// TestTryLock_SentinelsForgetPrimary removes the primary from the Sentinel of an open
// store.
func TestTryLock_SentinelsForgetPrimary(t *testing.T) {
	t.Parallel()
	primary := servers.StartRedis(t)
	sentinel := primary.StartSentinel("locks")
	s := openStore(t, "redisHost", sentinel.Addr, "failover", "true", "sentinelMasterName", "locks", "redisMaxRetries", "-1")
	do(t, sentinel, "SENTINEL REMOVE locks")
	primary.Stop()
	eventually(t, "the call names the primary", func() bool {
		_, err := s.TryLock(t.Context(), request("k", "o", time.Minute))
		if err != nil && (strings.Contains(err.Error(), "redis: nil") || errors.Is(err, goredis.Nil) || errors.Is(err, stores.ErrRefused)) {
			t.Fatalf("got %v", err)
		}
		return err != nil && strings.Contains(err.Error(), `no Sentinel that answers knows a primary named "locks"`)
	})
}
