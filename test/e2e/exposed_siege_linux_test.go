// Attacks by many clients on the TCP endpoints, with TLS and without, while a client uses
// the socket.
package e2e

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/test/servers"
)

const (
	// siegeVariable must be set to run TestSiege.
	siegeVariable = "MORTISE_SIEGE"
	// siegeLimit is the time limit of all attackers of a siege.
	siegeLimit = 2 * time.Minute
)

// siege is an attack by many clients at the same time.
type siege struct {
	name           string
	attackers      int // the number of attackers of each endpoint
	attack         func(context.Context, endpoint) error
	duration       time.Duration // of repetitions by each attacker; at least one
	events         bool          // streams have events during the attack
	fillsEndpoints bool          // half of the connections must be open
}

// TestSiege checks that each call on the socket succeeds during a siege. Afterwards the
// process must have no more files and goroutines than before, and its endpoints must
// answer.
func TestSiege(t *testing.T) {
	if os.Getenv(siegeVariable) == "" {
		t.Skipf("runs for minutes on all CPUs: make siege sets %s", siegeVariable)
	}
	withoutTLS, withTLS, _ := securities(servers.NewCertificate(t))
	targets := []*siegeTarget{newSiegeTarget(t, withoutTLS), newSiegeTarget(t, withTLS)}
	for _, s := range []siege{
		{name: "that send nothing", attackers: 50, attack: sendNothing},
		{name: "that send a partial handshake", attackers: 50, attack: sendPartialHandshake},
		{name: "that send an unending header", attackers: 50, attack: sendUnendingHeader},
		{name: "that send an unending body", attackers: 50, attack: sendUnendingBody},
		{name: "that never read", attackers: 20, attack: sendWithoutReading, events: true},
		{name: "that disappear", attackers: 50, attack: disappear},
		{name: "that send garbage", attackers: 4, attack: sendGarbage, duration: 2 * time.Second},
		{name: "that send no token", attackers: 4, attack: sendNoToken, duration: 2 * time.Second},
		{name: "that send large requests", attackers: 2, attack: sendLargeRequest, duration: 2 * time.Second},
		{name: "that send large headers", attackers: 4, attack: sendLargeHeader, duration: 2 * time.Second},
	} {
		t.Run("clients "+s.name, func(t *testing.T) {
			for _, at := range targets {
				t.Run(at.name, func(t *testing.T) {
					t.Parallel()
					s.run(t, at, at.endpoints)
				})
			}
		})
	}
	idle := siege{name: "that are idle", attackers: affordableConns(t, idleConns) / connsPerAttacker, attack: stayIdle, fillsEndpoints: true}
	for _, at := range targets {
		for _, e := range at.endpoints {
			t.Run("idle clients "+at.name+" on "+e.flag, func(t *testing.T) { idle.run(t, at, []endpoint{e}) })
		}
	}
}

// siegeTarget is an exposed Mortise, and a probe of its socket.
type siegeTarget struct {
	*exposed
	probe *probe
}

func newSiegeTarget(t *testing.T, s security) *siegeTarget {
	t.Helper()
	x := startExposed(t, s)
	at := &siegeTarget{x, startProbe(t, x.socket)}
	at.probe.during(t, waitOneSecond) // warms up
	return at
}

func waitOneSecond() { <-time.After(time.Second) }

// run attacks endpoints of a Mortise, and checks the target.
func (s siege) run(t *testing.T, at *siegeTarget, endpoints []endpoint) {
	before, err := at.footprint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	memory := at.memory()
	baseline := at.probe.during(t, waitOneSecond)
	var highest peak
	under := at.probe.during(t, func() {
		highest = at.peakOf(func() { s.attackAll(t, at, endpoints) })
	})
	t.Logf("TryLock and Unlock on the socket: %s", under.compare(baseline))
	var after footprint
	eventually(t, "recovery", func() (err error) {
		if after, err = at.footprint(t.Context()); err != nil {
			return err
		}
		return after.exceeds(before)
	})
	t.Logf("memory %d MB, at most %d, then %d; files %d, at most %d, then %d; goroutines %d, then %d",
		memory, highest.memory, at.memory(), before.files, highest.files, after.files, before.goroutines, after.goroutines)
	permitted := len(endpoints) * endpoints[0].maxConns
	if got := highest.files - before.files; got > permitted || s.fillsEndpoints && got < min(permitted, s.attackers*connsPerAttacker)/2 {
		t.Errorf("got %d open connections, %d are permitted", got, permitted)
	}
	for _, e := range endpoints {
		if err := e.expect(t.Context(), e.authorized(), answered); err != nil {
			t.Error(err)
		}
	}
}

// attackAll runs all attackers, and waits for them.
func (s siege) attackAll(t *testing.T, at *siegeTarget, endpoints []endpoint) {
	ctx, cancel := context.WithTimeout(t.Context(), siegeLimit)
	defer cancel()
	var attackers, others sync.WaitGroup
	if s.events {
		eventsCtx, stop := context.WithCancel(ctx)
		others.Go(func() {
			if err := at.makeEvents(eventsCtx); err != nil {
				t.Errorf("events: %v", err)
			}
		})
		defer others.Wait()
		defer stop()
	}
	ends := attackResults{errors: map[string]int{}}
	for _, e := range endpoints {
		for range s.attackers {
			attackers.Go(func() { ends.add(e, s.repeat(ctx, e)) })
		}
	}
	attackers.Wait()
	for end, times := range ends.errors {
		t.Errorf("%d attacks: %s", times, end)
	}
	if ends.rejected > 0 {
		t.Logf("%d of %d connections were not accepted", ends.rejected, s.attackers*connsPerAttacker)
	}
}

func (s siege) repeat(ctx context.Context, e endpoint) error {
	for begun := time.Now(); ; {
		if err := s.attack(ctx, e); err != nil || time.Since(begun) >= s.duration {
			return err
		}
	}
}

// makeEvents sets and removes a lock of a channel until ctx ends.
func (at *siegeTarget) makeEvents(ctx context.Context) error {
	conn, err := grpc.NewClient("unix:"+at.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	locks := rtmpb.NewChannelLocksClient(conn)
	for whole := context.WithoutCancel(ctx); err == nil && ctx.Err() == nil; {
		_, err = locks.SetLock(whole, &rtmpb.SetLockRequest{
			Store: "locks", User: "u", Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "report",
		})
		if err != nil {
			return err
		}
		_, err = locks.RemoveLock(whole, &rtmpb.RemoveLockRequest{
			Store: "locks", User: "u", Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "report",
		})
	}
	return err
}
