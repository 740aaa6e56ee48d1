// Everything breaks once while a crew works: no double holder, nobody stuck, nothing left
// locked.
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

// site is two Mortises on one Redis. The near one reaches it through a proxy.
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

// long is how long a trouble lasts: every lease is over before it.
const longFault = 2*lockTTL + lockTTL/2

var faults = []struct {
	name   string
	strike func(s *faultEnv) // causes the trouble and ends it
	spares bool              // the far Mortise and Redis have no part in it
}{
	{"Mortise is killed, and comes back", func(s *faultEnv) {
		s.near.crash(lockTTL / 2)
		s.near.start(s.t)
	}, true},
	{"Mortise is killed, and stays away for long", func(s *faultEnv) {
		s.near.crash(longFault)
		s.near.start(s.t)
	}, true},
	{"Mortise stands still", func(s *faultEnv) {
		s.near.signal(syscall.SIGSTOP)
		time.Sleep(longFault)
		s.near.signal(syscall.SIGCONT)
	}, true},
	{"Mortise is replaced in order", func(s *faultEnv) {
		if code := s.near.terminate(); code != 0 {
			s.t.Errorf("mortise ended with code %d", code)
		}
		s.near.start(s.t)
	}, true},
	{"Redis is killed, and comes back", func(s *faultEnv) {
		s.server.Stop()
		time.Sleep(lockTTL / 2)
		s.server.Start()
	}, false},
	{"Redis is killed, and stays away for long", func(s *faultEnv) {
		s.server.Stop()
		time.Sleep(longFault)
		s.server.Start()
	}, false},
	{"Redis stands still", func(s *faultEnv) {
		resume := s.server.Pause()
		time.Sleep(longFault)
		resume()
	}, false},
	{"the network is cut", func(s *faultEnv) {
		mend := s.proxy.Cut()
		time.Sleep(longFault)
		mend()
	}, true},
	{"the network is cut again and again", func(s *faultEnv) {
		for range 20 {
			mend := s.proxy.Cut()
			time.Sleep(lockTTL / 20)
			mend()
			time.Sleep(lockTTL / 20)
		}
	}, true},
	{"answers are lost now and then", func(s *faultEnv) {
		for range 50 {
			s.proxy.LoseAnswers(1)
			time.Sleep(lockTTL / 20)
		}
		s.proxy.LoseAnswers(0)
	}, true},
	{"answers are late", func(s *faultEnv) {
		s.proxy.Delay(lockTTL / 10)
		time.Sleep(longFault)
		s.proxy.Delay(0)
	}, true},
	{"answers are later than a lease", func(s *faultEnv) {
		s.proxy.Delay(lockTTL + lockTTL/2)
		time.Sleep(2 * longFault)
		s.proxy.Delay(0)
	}, false}, // a far worker may wait for several near ones, each of which gets the lock and cannot use it
}

func TestFaults_Redis(t *testing.T) {
	for _, trouble := range faults {
		t.Run(trouble.name, func(t *testing.T) {
			s := newFaultEnv(t)
			const each = 4
			c := startWorkers(t, each, s.near, s.far)
			time.Sleep(lockTTL)
			trouble.strike(s)
			over := time.Now()
			time.Sleep(waitLimit + slack + lockTTL/2)

			shifts := c.stopAll()
			t.Logf("%d shifts", len(shifts))
			err := errors.Join(checkExclusion(shifts), checkProgress(shifts, over, 2*each))
			if trouble.spares {
				err = errors.Join(err, checkUnaffected(shifts, "far"))
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
	c := startWorkers(t, 4, m)
	time.Sleep(2 * lockTTL)
	m.crash(lockTTL / 2)
	m.start(t)
	over := time.Now()
	time.Sleep(waitLimit + slack + lockTTL/2)

	shifts := c.stopAll()
	if err := errors.Join(checkExclusion(shifts), checkProgress(shifts, over, 4)); err != nil {
		t.Error(err)
	}
	cl, err := client.Dial("unix://" + m.socket())
	if err != nil {
		t.Fatal(err)
	}
	if locks, err := cl.List(t.Context(), ""); err != nil || len(locks) > 0 {
		t.Errorf("left are %v, %v", locks, err)
	}
	if err := cl.Close(); err != nil {
		t.Error(err)
	}
	checkShutdown(t, m)
	checkGoroutines(t)
}

// leavesNothing expects that a TTL later nothing is locked, and soon after there is
// nothing in Redis but the last token.
func (s *faultEnv) checkNothingLeft() {
	s.t.Helper()
	r := s.server.Client(func(o *goredis.Options) { o.Password = secret })
	time.Sleep(lockTTL)
	if owner, err := r.Get(context.Background(), "report").Result(); !errors.Is(err, goredis.Nil) {
		s.t.Errorf("the lock is still held by %q, %v", owner, err)
	}
	eventually(s.t, "Redis is as empty as before", func() error {
		keys, err := r.Keys(context.Background(), "*").Result()
		if err == nil && !slices.Equal(keys, []string{"mortise:token"}) {
			err = fmt.Errorf("left are %q", keys)
		}
		return err
	})
}

// endsInOrder expects that the Mortises end when they are told to, well before they would
// be cut short.
func checkShutdown(t testing.TB, all ...*mortise) {
	t.Helper()
	for _, m := range all {
		within(t, 2*time.Second, func() {
			if code := m.terminate(); code != 0 {
				t.Errorf("mortise ended with code %d", code)
			}
		})
	}
}

// noGoroutineIsLeft expects that nothing of the client runs any more in this process.
func checkGoroutines(t testing.TB) {
	t.Helper()
	eventually(t, "every goroutine of the client has ended", func() error {
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

// signal stops the process where it is, or lets it go on.
func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}
