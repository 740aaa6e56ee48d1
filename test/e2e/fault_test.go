// Faults while workers compete for a lock: the lock never has two holders, no waiter is
// stuck, and no lock remains.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/test/servers"
)

// faultEnv is two Mortises on one Redis. The near one reaches it through a proxy.
type faultEnv struct {
	t         testing.TB
	server    *servers.Redis
	proxy     *servers.Proxy
	near, far *mortise
}

func newFaultEnv(t testing.TB) *faultEnv {
	server := startPersistentRedis(t)
	proxy := servers.StartProxy(t, server.Addr)
	far := newResources(t, redis("locks", server))
	near := newResources(t, redis("locks", server).with("redisHost", proxy.Addr))
	return &faultEnv{
		t: t, server: server, proxy: proxy,
		near: startMortise(t, "--resources-path", near.path),
		far:  startMortise(t, "--resources-path", far.path),
	}
}

// longFault is the length of a long fault, during which every lease expires.
const longFault = 2*lockTTL + lockTTL/2

var faults = []struct {
	name   string
	inject func(s *faultEnv) // causes the fault and ends it
	local  bool              // the fault does not affect the far Mortise and Redis
}{
	{"Mortise is killed and restarts", func(s *faultEnv) {
		s.near.crash(lockTTL / 2)
		s.near.start(s.t)
	}, true},
	{"Mortise is killed and restarts late", func(s *faultEnv) {
		s.near.crash(longFault)
		s.near.start(s.t)
	}, true},
	{"Mortise is suspended", func(s *faultEnv) {
		s.near.signal(syscall.SIGSTOP)
		time.Sleep(longFault)
		s.near.signal(syscall.SIGCONT)
	}, true},
	{"Mortise is replaced gracefully", func(s *faultEnv) {
		if code := s.near.terminate(); code != 0 {
			s.t.Errorf("mortise: got exit code %d, want 0", code)
		}
		s.near.start(s.t)
	}, true},
	{"Redis is killed and restarts", func(s *faultEnv) {
		s.server.Stop()
		time.Sleep(lockTTL / 2)
		s.server.Start()
	}, false},
	{"Redis is killed and restarts late", func(s *faultEnv) {
		s.server.Stop()
		time.Sleep(longFault)
		s.server.Start()
	}, false},
	{"Redis is suspended", func(s *faultEnv) {
		resume := s.server.Pause()
		time.Sleep(longFault)
		resume()
	}, false},
	{"the network is interrupted", func(s *faultEnv) {
		restore := s.proxy.Cut()
		time.Sleep(longFault)
		restore()
	}, true},
	{"the network is interrupted repeatedly", func(s *faultEnv) {
		for range 20 {
			restore := s.proxy.Cut()
			time.Sleep(lockTTL / 20)
			restore()
			time.Sleep(lockTTL / 20)
		}
	}, true},
	{"replies are lost sometimes", func(s *faultEnv) {
		for range 50 {
			s.proxy.LoseAnswers(1)
			time.Sleep(lockTTL / 20)
		}
		s.proxy.LoseAnswers(0)
	}, true},
	{"replies are late", func(s *faultEnv) {
		s.proxy.Delay(lockTTL / 10)
		time.Sleep(longFault)
		s.proxy.Delay(0)
	}, true},
	{"replies are later than a lease", func(s *faultEnv) {
		s.proxy.Delay(lockTTL + lockTTL/2)
		time.Sleep(2 * longFault)
		s.proxy.Delay(0)
		// A far worker may wait for several near ones that are granted the lock too late.
	}, false},
}

func TestFaults_Redis(t *testing.T) {
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			s := newFaultEnv(t)
			const each = 4
			w := startWorkers(t, each, s.near, s.far)
			time.Sleep(lockTTL)
			fault.inject(s)
			over := time.Now()
			time.Sleep(waitLimit + slack + lockTTL/2)

			holdings := w.stopAll()
			t.Logf("the lock was held %d times", len(holdings))
			err := errors.Join(checkExclusion(holdings), checkProgress(holdings, over, 2*each))
			if fault.local {
				err = errors.Join(err, checkUnaffected(holdings, "far"))
			}
			if err != nil {
				t.Error(err)
			}
			s.checkNothingLeft()
			checkShutdown(t, s.near, s.far)
			checkGoroutines(t)
		})
	}
}

func TestFaults_MemoryKilled(t *testing.T) {
	grace := memory("locks").with("restartGrace", lockTTL.String())
	m := startMortise(t, "--resources-path", newResources(t, grace).path)
	w := startWorkers(t, 4, m)
	time.Sleep(2 * lockTTL)
	m.crash(lockTTL / 2)
	m.start(t)
	over := time.Now()
	time.Sleep(waitLimit + slack + lockTTL/2)

	holdings := w.stopAll()
	if err := errors.Join(checkExclusion(holdings), checkProgress(holdings, over, 4)); err != nil {
		t.Error(err)
	}
	cl, err := client.Dial("unix://" + m.socket())
	if err != nil {
		t.Fatal(err)
	}
	if locks, err := cl.List(t.Context(), ""); err != nil || len(locks) > 0 {
		t.Errorf("the locks must be free, got %v, %v", locks, err)
	}
	if err := cl.Close(); err != nil {
		t.Error(err)
	}
	checkShutdown(t, m)
	checkGoroutines(t)
}

// checkNothingLeft fails the test unless all locks are free after a TTL and, soon
// afterwards, Redis contains only the last token.
func (s *faultEnv) checkNothingLeft() {
	s.t.Helper()
	r := s.server.Client(func(o *goredis.Options) { o.Password = secret })
	time.Sleep(lockTTL)
	if owner, err := r.Get(context.Background(), "report").Result(); !errors.Is(err, goredis.Nil) {
		s.t.Errorf("the lock is still held by %q, %v", owner, err)
	}
	eventually(s.t, "Redis contains the last token only", func() error {
		keys, err := r.Keys(context.Background(), "*").Result()
		if err == nil && !slices.Equal(keys, []string{"mortise:token"}) {
			err = fmt.Errorf("got the keys %q", keys)
		}
		return err
	})
}

// checkShutdown fails the test unless the Mortises shut down gracefully, well before the
// timeout of their shutdown.
func checkShutdown(t testing.TB, all ...*mortise) {
	t.Helper()
	for _, m := range all {
		within(t, 2*time.Second, func() {
			if code := m.terminate(); code != 0 {
				t.Errorf("mortise: got exit code %d, want 0", code)
			}
		})
	}
}

// checkGoroutines fails the test unless all goroutines of the client have ended.
func checkGoroutines(t testing.TB) {
	t.Helper()
	eventually(t, "goroutines of the client", func() error {
		var b strings.Builder
		if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
			return err
		}
		if strings.Contains(b.String(), "mortise/client.") {
			return errors.New(b.String())
		}
		return nil
	})
}

// signal sends a signal to the process.
func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}
