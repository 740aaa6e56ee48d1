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
type site struct {
	t         testing.TB
	server    *servers.Redis
	proxy     *servers.Proxy
	near, far *mortise
}

func newSite(t testing.TB) *site {
	server := startPersistentRedis(t)
	proxy := servers.StartProxy(t, server.Addr)
	far := newResources(t, redis("locks", server))
	near := newResources(t, redis("locks", server).with("redisHost", proxy.Addr))
	return &site{
		t: t, server: server, proxy: proxy,
		near: startMortise(t, "--resources-path", near.path),
		far:  startMortise(t, "--resources-path", far.path),
	}
}

// long is how long a trouble lasts: every lease is over before it.
const long = 2*term + term/2

var troubles = []struct {
	name   string
	strike func(s *site) // causes the trouble and ends it
	spares bool          // the far Mortise and Redis have no part in it
}{
	{"Mortise is killed, and comes back", func(s *site) {
		s.near.crash(term / 2)
		s.near.start(s.t)
	}, true},
	{"Mortise is killed, and stays away for long", func(s *site) {
		s.near.crash(long)
		s.near.start(s.t)
	}, true},
	{"Mortise stands still", func(s *site) {
		s.near.signal(syscall.SIGSTOP)
		time.Sleep(long)
		s.near.signal(syscall.SIGCONT)
	}, true},
	{"Mortise is replaced in order", func(s *site) {
		if code := s.near.terminate(); code != 0 {
			s.t.Errorf("mortise ended with code %d", code)
		}
		s.near.start(s.t)
	}, true},
	{"Redis is killed, and comes back", func(s *site) {
		s.server.Stop()
		time.Sleep(term / 2)
		s.server.Start()
	}, false},
	{"Redis is killed, and stays away for long", func(s *site) {
		s.server.Stop()
		time.Sleep(long)
		s.server.Start()
	}, false},
	{"Redis stands still", func(s *site) {
		resume := s.server.Pause()
		time.Sleep(long)
		resume()
	}, false},
	{"the network is cut", func(s *site) {
		mend := s.proxy.Cut()
		time.Sleep(long)
		mend()
	}, true},
	{"the network is cut again and again", func(s *site) {
		for range 20 {
			mend := s.proxy.Cut()
			time.Sleep(term / 20)
			mend()
			time.Sleep(term / 20)
		}
	}, true},
	{"answers are lost now and then", func(s *site) {
		for range 50 {
			s.proxy.LoseAnswers(1)
			time.Sleep(term / 20)
		}
		s.proxy.LoseAnswers(0)
	}, true},
	{"answers are late", func(s *site) {
		s.proxy.Delay(term / 10)
		time.Sleep(long)
		s.proxy.Delay(0)
	}, true},
	{"answers are later than a lease", func(s *site) {
		s.proxy.Delay(term + term/2)
		time.Sleep(2 * long)
		s.proxy.Delay(0)
	}, false}, // a far worker may wait for several near ones, each of which gets the lock and cannot use it
}

func TestTroubleWhileACrewWorks(t *testing.T) {
	for _, trouble := range troubles {
		t.Run(trouble.name, func(t *testing.T) {
			s := newSite(t)
			const each = 4
			c := hire(t, each, s.near, s.far)
			time.Sleep(term)
			trouble.strike(s)
			over := time.Now()
			time.Sleep(limit + slack + term/2)

			shifts := c.dismiss()
			t.Logf("%d shifts", len(shifts))
			err := errors.Join(excluded(shifts), served(shifts, over, 2*each))
			if trouble.spares {
				err = errors.Join(err, spared(shifts, "far"))
			}
			if err != nil {
				t.Error(err)
			}
			s.leavesNothing()
			endsInOrder(t, s.near, s.far)
			noGoroutineIsLeft(t)
		})
	}
}

func TestAMemoryThatIsKilledWhileACrewWorks(t *testing.T) {
	grace := memory("locks").with("restartGrace", term.String())
	m := startMortise(t, "--resources-path", newResources(t, grace).path)
	c := hire(t, 4, m)
	time.Sleep(2 * term)
	m.crash(term / 2)
	m.start(t)
	over := time.Now()
	time.Sleep(limit + slack + term/2)

	shifts := c.dismiss()
	if err := errors.Join(excluded(shifts), served(shifts, over, 4)); err != nil {
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
	endsInOrder(t, m)
	noGoroutineIsLeft(t)
}

// leavesNothing expects that a TTL later nothing is locked, and soon after there is
// nothing in Redis but the last token.
func (s *site) leavesNothing() {
	s.t.Helper()
	r := s.server.Client(func(o *goredis.Options) { o.Password = secret })
	time.Sleep(term)
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
func endsInOrder(t testing.TB, all ...*mortise) {
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
func noGoroutineIsLeft(t testing.TB) {
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
