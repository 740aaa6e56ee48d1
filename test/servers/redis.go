// Package servers starts real servers for tests, each on a free port of the loopback
// interface, and stops them when the test ends.
package servers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// startTimeout is the time limit of a server's start.
const startTimeout = 10 * time.Second

// Redis is a redis-server or redis-sentinel that a test can stop and restart.
type Redis struct {
	Addr string // host:port; Stop and Start do not change it

	t    testing.TB
	args []string // a configuration file, if any, comes first
	dir  string
	cmd  *exec.Cmd
}

// StartRedis starts redis-server without persistence and with additional arguments. It
// fails the test if redis-server is not installed, because an untested store cannot be
// relied on.
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	r := newRedis(t, append([]string{"--save", "", "--appendonly", "no"}, args...)...)
	r.Start()
	return r
}

func newRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatalf("redis-server must be installed (Debian: apt-get install redis-server): %v", err)
	}
	r := &Redis{Addr: freeAddr(t), t: t, args: args, dir: t.TempDir()}
	t.Cleanup(r.Stop)
	return r
}

// Port returns the port of Addr.
func (r *Redis) Port() string {
	_, port, _ := net.SplitHostPort(r.Addr)
	return port
}

// Start starts the server, with the data that it has persisted, and waits until it
// accepts connections.
func (r *Redis) Start() {
	r.t.Helper()
	args := append(slices.Clone(r.args), "--bind", "127.0.0.1", "--dir", r.dir, "--port", r.Port())
	if slices.Contains(r.args, "--tls-cert-file") {
		args = append(args, "--port", "0", "--tls-port", r.Port())
	}
	log, err := os.Create(filepath.Join(r.dir, "log"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	r.cmd = exec.Command("redis-server", args...)
	r.cmd.Stdout, r.cmd.Stderr = log, log
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	await(r.t, "redis-server on "+r.Addr, r.answers)
}

// Stop kills the server, as a crash would. It does nothing if the server is not running.
func (r *Redis) Stop() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait() // reports that it was killed
	r.cmd = nil
}

// Pause suspends the server, as on a machine that stalls: connections stay open without
// responses. resume lets the server continue.
func (r *Redis) Pause() (resume func()) {
	r.t.Helper()
	r.signal(syscall.SIGSTOP)
	return func() { r.signal(syscall.SIGCONT) }
}

func (r *Redis) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatalf("redis-server on %s: %v", r.Addr, err)
	}
}

// Client returns a plain client of the server, which bypasses the store.
func (r *Redis) Client(options ...func(*goredis.Options)) *goredis.Client {
	o := &goredis.Options{Addr: r.Addr}
	for _, option := range options {
		option(o)
	}
	c := goredis.NewClient(o)
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// answers returns an error with the server's log unless it accepts connections.
func (r *Redis) answers() error {
	conn, err := net.DialTimeout("tcp", r.Addr, time.Second)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(r.dir, "log"))
		return fmt.Errorf("%w\n%s", err, log)
	}
	return conn.Close()
}

// StartReplicas starts n replicas of the server and waits until they are connected.
func (r *Redis) StartReplicas(n int) []*Redis {
	r.t.Helper()
	replicas := make([]*Redis, n)
	for i := range replicas {
		replicas[i] = StartRedis(r.t, "--replicaof", "127.0.0.1 "+r.Port(), "--repl-diskless-sync-delay", "0")
	}
	client := r.Client()
	await(r.t, "replication", func() error {
		info, err := client.Info(context.Background(), "replication").Result()
		if want := fmt.Sprintf("connected_slaves:%d", n); err == nil && !strings.Contains(info, want) {
			err = fmt.Errorf("missing %s in %q", want, info)
		}
		return err
	})
	return replicas
}

// StartSentinel starts a Sentinel that monitors the server under the given name.
func (r *Redis) StartSentinel(master string) *Redis {
	r.t.Helper()
	s := newRedis(r.t)
	config := filepath.Join(s.dir, "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s 1\nsentinel down-after-milliseconds %s 500\nsentinel failover-timeout %s 2000\n",
		master, r.Port(), master, master)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	s.args = []string{config, "--sentinel"}
	s.Start()
	return s
}

// freeAddr returns an address of the loopback interface that was free when it was
// checked.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// await calls ready until it returns nil, and fails the test after startTimeout.
func await(t testing.TB, what string, ready func() error) {
	t.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		err := ready()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
