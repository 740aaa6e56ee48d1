// A storage that refuses commands, or is lost: the errors of callers, and health.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/test/servers"
)

// redisEnv is a Redis with an administrator and a user for Mortise, a Mortise that uses
// it, and a client.
type redisEnv struct {
	*mortise
	server  *servers.Redis
	admin   *goredis.Client
	client  *client.Client
	address string // of the metrics endpoint
}

// startRedisEnv starts Mortise with a component in a new Redis, as the user "mortise".
func startRedisEnv(t *testing.T) *redisEnv {
	t.Helper()
	s := &redisEnv{server: servers.StartRedis(t), address: "127.0.0.1:" + freePort(t)}
	s.admin = s.server.Client()
	s.do(t, "ACL", "SETUSER", "mortise", "on", ">"+secret, "allkeys", "allchannels", "allcommands")
	locks := redis("locks", s.server).with("redisUsername", "mortise")
	s.mortise = startMortise(t, "--resources-path", newResources(t, locks).path, "--metrics-address", s.address)
	c, err := client.Dial("unix://" + s.socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s.client = c
	return s
}

func (s *redisEnv) do(t *testing.T, args ...any) {
	t.Helper()
	if err := s.admin.Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

// refusals are commands of an administrator after which Redis answers, but grants no
// lock. Redis 7.0 has other errors for a refusal within a script.
var refusals = []struct {
	name  string
	apply [][]any
	want  *regexp.Regexp
}{
	{"a command is not permitted", [][]any{{"ACL", "SETUSER", "mortise", "-time"}}, regexp.MustCompile("NOPERM|can't run this command")},
	{"scripts are not permitted", [][]any{{"ACL", "SETUSER", "mortise", "-eval", "-evalsha"}}, regexp.MustCompile("NOPERM")},
	{"the keys are not permitted", [][]any{{"ACL", "SETUSER", "mortise", "resetkeys"}}, regexp.MustCompile("NOPERM")},
	{"the password has changed", [][]any{
		{"ACL", "SETUSER", "mortise", "resetpass", ">another"}, {"CLIENT", "KILL", "USER", "mortise"},
	}, regexp.MustCompile("WRONGPASS")},
	{"the user does not exist", [][]any{{"ACL", "DELUSER", "mortise"}}, regexp.MustCompile("WRONGPASS")},
}

func TestRefusal_EndsEveryWait(t *testing.T) {
	t.Parallel()
	for _, row := range refusals {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := startRedisEnv(t)
			held, err := s.client.Lock(t.Context(), "held", client.NoRenew(), client.TTL(lockTTL))
			if err != nil {
				t.Fatal(err)
			}
			waiting := make(chan error, 1)
			go func() {
				_, err := s.client.Lock(context.WithoutCancel(t.Context()), held.Key())
				waiting <- err
			}()
			eventually(t, "a waiter", func() error { return s.checkWaiting(t.Context(), held.Key()) })
			for _, command := range row.apply {
				s.do(t, command...)
			}
			check := func(what string, err error) {
				if !errors.Is(err, client.ErrRefused) || !row.want.MatchString(fmt.Sprint(err)) {
					t.Errorf("%s: got %v, want ErrRefused with %s", what, err, row.want)
				}
			}
			check("the waiter", <-waiting)
			_, err = client.Do(context.WithoutCancel(t.Context()), s.client, "new", func(context.Context) (int, error) { return 0, nil })
			check("Do", err)
			out, err := exec.CommandContext(t.Context(), mortiseProgram.path, "locks", "--target", "unix://"+s.socket(),
				"lock", "new", "--", "true").CombinedOutput()
			if err == nil || !row.want.Match(out) {
				t.Errorf("the command line: %v, %s, want %s", err, out, row.want)
			}
		})
	}
}

// checkWaiting returns an error unless a request waits for the key.
func (s *redisEnv) checkWaiting(ctx context.Context, key string) error {
	l, err := s.client.Get(ctx, key)
	if err == nil && l.Waiters == 0 {
		err = errors.New("no waiter")
	}
	return err
}

func TestLostLease_ReportsTheStoragesError(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		lose func(t *testing.T, s *redisEnv)
		want string
	}{
		{"unreachable", func(_ *testing.T, s *redisEnv) { s.server.Stop() }, "connection refused"},
		{"a replica", func(t *testing.T, s *redisEnv) { s.do(t, "REPLICAOF", "127.0.0.1", "1") }, "READONLY"},
		{"no permission", func(t *testing.T, s *redisEnv) { s.do(t, "ACL", "SETUSER", "mortise", "-eval", "-evalsha") }, "NOPERM"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := startRedisEnv(t)
			lease, err := s.client.Lock(t.Context(), "k", client.TTL(lockTTL))
			if err != nil {
				t.Fatal(err)
			}
			row.lose(t, s)
			select {
			case <-lease.Done():
			case <-time.After(waitTimeout):
				t.Fatal("the lease has not ended")
			}
			if err := lease.Err(); !errors.Is(err, client.ErrLost) || !strings.Contains(err.Error(), row.want) ||
				strings.Contains(err.Error(), "RST_STREAM") {
				t.Errorf("got %v, want ErrLost with %s", err, row.want)
			}
		})
	}
}

func TestHealth_Writable(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name        string
		apply, undo [][]any
	}{
		{"a replica", [][]any{{"REPLICAOF", "127.0.0.1", "1"}}, [][]any{{"REPLICAOF", "NO", "ONE"}}},
		{"out of memory", [][]any{{"CONFIG", "SET", "maxmemory", "1"}}, [][]any{{"CONFIG", "SET", "maxmemory", "0"}}},
		{"too few replicas", [][]any{{"CONFIG", "SET", "min-replicas-to-write", "1"}}, [][]any{{"CONFIG", "SET", "min-replicas-to-write", "0"}}},
		{"no permission", [][]any{{"ACL", "SETUSER", "mortise", "-set"}}, [][]any{{"ACL", "SETUSER", "mortise", "+set"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := startRedisEnv(t)
			s.awaitHealth(t, http.StatusNoContent)
			for _, command := range row.apply {
				s.do(t, command...)
			}
			s.awaitHealth(t, http.StatusServiceUnavailable)
			for _, command := range row.undo {
				s.do(t, command...)
			}
			s.awaitHealth(t, http.StatusNoContent)
			keys, err := s.admin.Keys(t.Context(), "mortise:probe:*").Result()
			if err != nil || len(keys) > 0 {
				t.Errorf("health must leave no keys, got %q, %v", keys, err)
			}
		})
	}
}

// awaitHealth waits until /healthz returns the status.
func (s *redisEnv) awaitHealth(t *testing.T, want int) {
	t.Helper()
	eventually(t, "health", func() error {
		resp, err := http.Get("http://" + s.address + "/healthz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != want {
			return fmt.Errorf("got %s, want %d", resp.Status, want)
		}
		return nil
	})
}
