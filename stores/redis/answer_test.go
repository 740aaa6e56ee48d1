package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// serverError is an error that a server answers.
type serverError string

func (s serverError) Error() string { return string(s) }
func (serverError) RedisError()     {}

func TestWrap_ServerErrors(t *testing.T) {
	t.Parallel()
	const script6 = "ERR Error running script (call to f_0123): @user_script:12: "
	for _, row := range []struct {
		answer    string
		permanent bool
	}{
		{"NOPERM this user has no permissions to run the 'evalsha' command", true},
		{"NOPERM User mortise has no permissions to run the 'time' command", true},
		{"NOPERM No permissions to access a key", true},
		{"WRONGPASS invalid username-password pair or user is disabled.", true},
		{"NOAUTH Authentication required.", true},
		{"ERR Client sent AUTH, but no password is set", true},
		{"ERR AUTH <password> called without any password configured for the default user. Are you sure?", true},
		{"WRONGTYPE Operation against a key holding the wrong kind of value", true},
		{"ERR unknown command 'EVALSHA', with args beginning with: 'LOADING ' ", true},
		{"ERR unknown command `eval`, with args beginning with: ", true},
		{"DENIED Redis is running in protected mode because protected mode is enabled", true},
		{"ERR DB index is out of range", true},
		{"ERR invalid DB index", true},
		{"CROSSSLOT Keys in request don't hash to the same slot", true},
		{"MOVED 3999 127.0.0.1:6381", true},
		{"ERR value is not an integer or out of range", true},
		{"NOPROTO unsupported protocol version", true},
		{"ERR syntax error", true},
		{"ERR The user executing the script can't run this command or subcommand script: 01, on @user_script:1.", true},
		{"WRONGTYPE Operation against a key holding the wrong kind of value script: 01, on @user_script:1.", true},
		{"ERR user_script:1: attempt to call a nil value script: 01, on @user_script:1.", true},
		{script6 + "The user executing the script can't run this command or subcommand", true},
		{script6 + "WRONGTYPE Operation against a key holding the wrong kind of value", true},
		{script6 + "@user_script: 12: -NOPERM Not permitted", true},
		{"BUSYKEY Target key name already exists.", true},

		{"LOADING Redis is loading the dataset in memory", false},
		{"READONLY You can't write against a read only replica.", false},
		{"READONLY You can't write against a read only replica. script: 01, on @user_script:1.", false},
		{script6 + "@user_script: 12: -READONLY You can't write against a read only replica.", false},
		{"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", false},
		{"CLUSTERDOWN The cluster is down", false},
		{"TRYAGAIN Multiple keys request during rehashing of slot", false},
		{"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", false},
		{"UNKILLABLE Sorry the script already executed write commands", false},
		{"OOM command not allowed when used memory > 'maxmemory'. script: 01, on @user_script:1.", false},
		{script6 + "@user_script: 12: -OOM command not allowed when used memory > 'maxmemory'.", false},
		{script6 + "OOM command not allowed when used memory > 'maxmemory'", false},
		{"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", false},
		{script6 + "@user_script: 12: -MISCONF Redis is configured to save RDB snapshots", false},
		{"NOREPLICAS Not enough good replicas to write.", false},
		{"NOSCRIPT No matching script. Please use EVAL.", false},
		{"ERR max number of clients reached", false},
		{"ERR max number of clients + cluster connections reached", false},
		{"no upstream host", false},
		{"upstream failure", false},
		{"ERR LOADING kvrocks is loading", false},
	} {
		err := wrap(t.Context(), "lock", "k", fmt.Errorf("failed to authenticate: %w", serverError(row.answer)))
		if errors.Is(err, stores.ErrRefused) != row.permanent || !strings.Contains(err.Error(), row.answer) {
			t.Errorf("%q: %v", row.answer, err)
		}
	}
}

func TestIsPermanent(t *testing.T) {
	t.Parallel()
	denied := serverError("NOPERM no")
	for _, row := range []struct {
		name      string
		err       error
		permanent bool
	}{
		{"the end of a connection", io.EOF, false},
		{"a network error", &net.OpError{Op: "dial", Err: errors.New("connection refused")}, false},
		{"no value", goredis.Nil, false},
		{"a deadline", context.DeadlineExceeded, false},
		{"a closed store", stores.ErrClosed, false},
		{"an outcome of the contract", fmt.Errorf("%w: %w", stores.ErrNotLock, denied), false},
		{"one permanent error of two", errors.Join(denied, io.EOF), false},
		{"two permanent errors", errors.Join(denied, serverError("WRONGPASS no")), true},
		{"a certificate that is not valid", &tls.CertificateVerificationError{Err: errors.New("expired")}, true},
	} {
		if isPermanent(row.err) != row.permanent {
			t.Errorf("%s: isPermanent is %v", row.name, !row.permanent)
		}
	}
}

// TestStore_ServerErrors provokes errors of a real server after the store was opened.
func TestStore_ServerErrors(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		args    []string
		provoke []string
		want    string
		refused bool
	}{
		{"a password was set", nil, []string{"CONFIG SET requirepass secret", "CLIENT KILL TYPE normal SKIPME yes"}, "NOAUTH|unauthenticated", true},
		{"the user was restricted", nil, []string{"ACL SETUSER default -evalsha"}, "NOPERM", true},
		{"a command of the scripts was denied", nil, []string{"ACL SETUSER default -time"}, "can't run this command", true},
		{"the token is a hash", nil, []string{"DEL mortise:token", "HSET mortise:token f v"}, "WRONGTYPE", true},
		{"the memory is full", nil, []string{"CONFIG SET maxmemory 1"}, "OOM", false},
		{"replicas are missing", nil, []string{"CONFIG SET min-replicas-to-write 1"}, "NOREPLICAS", false},
		{"it has become a replica", nil, []string{"REPLICAOF 127.0.0.1 1"}, "READONLY", false},
		{"it is a replica without stale data", nil,
			[]string{"CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"}, "MASTERDOWN", false},
		{"it cannot save", []string{"--save", "3600 1", "--enable-protected-configs", "yes"},
			[]string{"CONFIG SET dir /proc", "BGSAVE"}, "MISCONF", false},
		{"too many clients", nil, []string{"CONFIG SET maxclients 1", "CLIENT KILL TYPE normal SKIPME yes"}, "max number of clients", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := servers.StartRedis(t, row.args...)
			s, admin := openStore(t, "redisHost", server.Addr, "redisMaxRetries", "-1"), server.Client()
			for _, command := range row.provoke {
				var args []any
				for _, field := range strings.Fields(command) {
					args = append(args, field)
				}
				if err := admin.Do(t.Context(), args...).Err(); err != nil {
					t.Fatalf("%s: %v", command, err)
				}
			}
			want := regexp.MustCompile(row.want)
			for what, call := range map[string]func() error{
				"try lock": func() error { return grantErr(s.TryLock(t.Context(), request(uuid.NewString(), "o", time.Minute))) },
				"ping":     func() error { return s.Ping(t.Context()) },
			} {
				var err error
				eventually(t, what+" fails with "+row.want, func() bool { err = call(); return err != nil && want.MatchString(err.Error()) })
				if errors.Is(err, stores.ErrRefused) != row.refused {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}
