package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// startFakeServer starts a server that sends what answer returns for each command, whose
// name it receives in lower case. It closes the connection if that is empty.
func startFakeServer(t *testing.T, answer func(command string) string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveFakeConn(conn, answer)
		}
	}()
	return l.Addr().String()
}

func serveFakeConn(conn net.Conn, answer func(command string) string) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		var n int
		if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
			return
		}
		args := make([]string, n)
		for i := range args {
			var size int
			if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
				return
			}
			value := make([]byte, size+2)
			if _, err := io.ReadFull(in, value); err != nil {
				return
			}
			args[i] = string(value[:size])
		}
		text := answer(strings.ToLower(args[0]))
		if _, err := conn.Write([]byte(text)); err != nil || text == "" {
			return
		}
	}
}

func TestOpen_MissingCommand(t *testing.T) {
	t.Parallel()
	renamed := func(commands ...string) string {
		var args []string
		for _, command := range commands {
			args = append(args, "--rename-command", command, "")
		}
		return servers.StartRedis(t, args...).Addr
	}
	unknown := func(command string) string { return fmt.Sprintf("-ERR unknown command '%s'\r\n", command) }
	for _, row := range []struct{ name, addr, want string }{
		{"no scripts", renamed("EVAL", "EVALSHA"), "does not know the commands eval, evalsha"},
		{"no clock", renamed("TIME"), "does not know the command time"},
		{"no hashes", renamed("HSET"), "does not know the command hset"},
		{"no scan", renamed("SCAN"), "does not know the command scan"},
		{"no messages", renamed("SUBSCRIBE", "PUBLISH"), "does not know the commands publish, subscribe"},
		{"protected mode", startFakeServer(t, func(string) string { return "-DENIED Redis is running in protected mode\r\n" }), "DENIED"},
		{"protected mode, which ends the connection", startDenying(t, "-DENIED Redis is running in protected mode\r\n"), "DENIED"},
		{"no commands", startFakeServer(t, unknown), "does not know the commands time, set"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			_, err := tryOpen(t.Context(), "redisHost", row.addr)
			if !errors.Is(err, stores.ErrRefused) || errors.Is(err, stores.ErrUnreachable) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
			if took := time.Since(start); took > openTimeout {
				t.Errorf("took %v", took)
			}
		})
	}
}

// startDenying starts a server that sends an answer before any command, and closes the
// connection.
func startDenying(t *testing.T, answer string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(answer))
			_ = conn.(*net.TCPConn).CloseWrite()
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func TestOpen_WaitsForRedis(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		prepare func(t *testing.T, server *servers.Redis) (up func())
	}{
		{"it is not started", func(_ *testing.T, server *servers.Redis) func() {
			server.Stop()
			return server.Start
		}},
		{"its memory is full", func(t *testing.T, server *servers.Redis) func() {
			client := server.Client()
			client.ConfigSet(t.Context(), "maxmemory", "1")
			return func() { client.ConfigSet(t.Context(), "maxmemory", "0") }
		}},
		{"it has no replica yet", func(t *testing.T, server *servers.Redis) func() {
			client := server.Client()
			client.ConfigSet(t.Context(), "min-replicas-to-write", "1")
			return func() { client.ConfigSet(t.Context(), "min-replicas-to-write", "0") }
		}},
		{"it has too many clients", func(t *testing.T, server *servers.Redis) func() {
			client := server.Client()
			client.ConfigSet(t.Context(), "maxclients", "1")
			return func() { client.ConfigSet(t.Context(), "maxclients", "100") }
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := servers.StartRedis(t)
			up := row.prepare(t, server)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			opened := make(chan error, 1)
			go func() {
				s, err := tryOpen(ctx, "redisHost", server.Addr, "poolSize", "1")
				if err == nil {
					err = errors.Join(s.(*Store).Ping(ctx), s.Close())
				}
				opened <- err
			}()
			select {
			case err := <-opened:
				t.Fatalf("opening ended too early: %v", err)
			// This is longer than the retries of a call.
			case <-time.After(400 * time.Millisecond):
			}
			up()
			if err := <-opened; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOpen_Unreachable(t *testing.T) {
	t.Parallel()
	down := servers.StartRedis(t)
	down.Stop()
	replica := servers.StartRedis(t, "--replicaof", "127.0.0.1 1", "--rename-command", "INFO", "")
	for _, row := range []struct{ name, addr, want string }{
		{"the port is closed", down.Addr, "connection refused"},
		{"it loads its data", startFakeServer(t, func(string) string {
			return "-LOADING Redis is loading the dataset in memory\r\n"
		}), "LOADING Redis is loading"},
		{"it ends every connection", startFakeServer(t, func(string) string { return "" }), "EOF"},
		{"it is read-only", replica.Addr, "READONLY"},
		{"it loses messages", startWithoutPubSub(t), "subscribe to the channels mortise:*"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			_, err := tryOpen(ctx, "redisHost", row.addr)
			if !errors.Is(err, stores.ErrUnreachable) || errors.Is(err, stores.ErrRefused) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
			if ctx.Err() == nil {
				t.Error("opening must retry until its deadline")
			}
		})
	}
}

// startWithoutPubSub starts a server that never confirms subscriptions.
func startWithoutPubSub(t *testing.T) (addr string) {
	t.Helper()
	return startFakeServer(t, func(command string) string {
		switch command {
		case "hello":
			return "-ERR unknown command 'hello'\r\n"
		case "info":
			return "$0\r\n\r\n"
		case "subscribe":
			return "+\r\n"
		}
		return ":0\r\n"
	})
}

func TestOpen_Canceled(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	server.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := tryOpen(ctx, "redisHost", server.Addr); !errors.Is(err, context.Canceled) || errors.Is(err, stores.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

func TestOpen_LeavesNoKeys(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	client := server.Client()
	s := openStore(t, "redisHost", server.Addr)
	if list, err := s.List(t.Context(), ""); err != nil || len(list) != 0 {
		t.Errorf("opening must not leave a lock: %+v, %v", list, err)
	}
	eventually(t, "only the token is left", func() bool {
		keys := client.Keys(t.Context(), "*").Val()
		return len(keys) == 1 && keys[0] == tokenKey
	})
}

// TestOpen_PublishesNoEvent opens a store while another store watches.
func TestOpen_PublishesNoEvent(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	events, watching := make(chan stores.Event, 100), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = s.Watch(ctx, "", func(e stores.Event) error {
			if e.Kind == stores.EventSnapshot {
				close(watching)
			} else {
				events <- e
			}
			return nil
		})
	}()
	<-watching
	other := openStore(t, "redisHost", server.Addr)
	if err := other.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	lock(t, other, "k", "o", time.Minute)
	if e := <-events; e.Lock.Key != "k" {
		t.Errorf("the first event is %+v", e)
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	var sent commandRecorder
	s.client.AddHook(&sent)
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(sent.names, " "); got != "evalsha" {
		t.Errorf("ping sent %s, want one command", got)
	}
	if keys := server.Client().Keys(t.Context(), "*probe*").Val(); len(keys) != 0 {
		t.Errorf("ping must leave no keys, got %q", keys)
	}
}

var _ goredis.Hook = (*retrier)(nil)
