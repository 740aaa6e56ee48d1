// Mortise under siege at its TCP endpoints, with TLS and without, while somebody uses the
// socket.
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
	// siegeVariable lets the siege take place.
	siegeVariable = "MORTISE_SIEGE"
	// siegeLimit is when attackers give up at the latest.
	siegeLimit = 2 * time.Minute
)

// siege is an attack by many at the same time.
type siege struct {
	name           string
	attackers      int // attackers of each endpoint
	attack         func(context.Context, endpoint) error
	duration       time.Duration // how long each attacker repeats it; once at least
	events         bool          // there is much to tell to those who listen
	fillsEndpoints bool          // at least half of what the endpoints have room for is taken
}

// While a siege goes on, each call on the socket is answered. After it the process has no
// more files and goroutines than before, and the endpoints answer.
func TestSiege(t *testing.T) {
	if os.Getenv(siegeVariable) == "" {
		t.Skipf("it takes the whole machine for minutes: make siege sets %s", siegeVariable)
	}
	withoutTLS, withTLS, _ := securities(servers.NewCertificate(t))
	sites := []*siegeTarget{newSiegeTarget(t, withoutTLS), newSiegeTarget(t, withTLS)}
	for _, s := range []siege{
		{name: "who say nothing", attackers: 50, attack: sendNothing},
		{name: "who begin to speak", attackers: 50, attack: sendPartialHandshake},
		{name: "whose header does not end", attackers: 50, attack: sendUnendingHeader},
		{name: "whose body does not end", attackers: 50, attack: sendUnendingBody},
		{name: "who never read", attackers: 20, attack: sendWithoutReading, events: true},
		{name: "who are gone without a word", attackers: 50, attack: disappear},
		{name: "who send garbage", attackers: 4, attack: sendGarbage, duration: 2 * time.Second},
		{name: "who have no token", attackers: 4, attack: sendNoToken, duration: 2 * time.Second},
		{name: "who send too much", attackers: 2, attack: sendLargeRequest, duration: 2 * time.Second},
		{name: "who send a huge header", attackers: 4, attack: sendLargeHeader, duration: 2 * time.Second},
	} {
		t.Run("of clients "+s.name, func(t *testing.T) {
			for _, at := range sites {
				t.Run(at.name, func(t *testing.T) {
					t.Parallel()
					s.run(t, at, at.endpoints)
				})
			}
		})
	}
	idle := siege{name: "who are idle", attackers: affordableConns(t, idleConns) / connsPerAttacker, attack: stayIdle, fillsEndpoints: true}
	for _, at := range sites {
		for _, e := range at.endpoints {
			t.Run("of idle clients "+at.name+" on "+e.flag, func(t *testing.T) { idle.run(t, at, []endpoint{e}) })
		}
	}
}

// besieged is an exposed Mortise, and somebody who uses its socket.
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

// lay lays siege to endpoints of a Mortise.
func (s siege) run(t *testing.T, at *siegeTarget, endpoints []endpoint) {
	before, err := at.footprint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	memory := at.memory()
	calm := at.probe.during(t, waitOneSecond)
	var most peak
	under := at.probe.during(t, func() {
		most = at.peakOf(func() { s.attackAll(t, at, endpoints) })
	})
	t.Logf("TryLock and Unlock on the socket: %s", under.compare(calm))
	var after footprint
	eventually(t, "it recovers", func() (err error) {
		if after, err = at.footprint(t.Context()); err != nil {
			return err
		}
		return after.exceeds(before)
	})
	t.Logf("memory %d MB, at most %d, then %d; files %d, at most %d, then %d; goroutines %d, then %d",
		memory, most.memory, at.memory(), before.files, most.files, after.files, before.goroutines, after.goroutines)
	room := len(endpoints) * endpoints[0].maxConns
	if got := most.files - before.files; got > room || s.fillsEndpoints && got < min(room, s.attackers*connsPerAttacker)/2 {
		t.Errorf("%d connections were open, and there is room for %d", got, room)
	}
	for _, e := range endpoints {
		if err := e.expect(t.Context(), e.authorized(), answered); err != nil {
			t.Error(err)
		}
	}
}

// run attacks, until all attackers have ended.
func (s siege) attackAll(t *testing.T, at *siegeTarget, endpoints []endpoint) {
	ctx, cancel := context.WithTimeout(t.Context(), siegeLimit)
	defer cancel()
	var attackers, others sync.WaitGroup
	if s.events {
		talking, stop := context.WithCancel(ctx)
		others.Go(func() {
			if err := at.makeEvents(talking); err != nil {
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
		t.Errorf("%d times %s", times, end)
	}
	if ends.rejected > 0 {
		t.Logf("%d of %d connections were not let in", ends.rejected, s.attackers*connsPerAttacker)
	}
}

func (s siege) repeat(ctx context.Context, e endpoint) error {
	for begun := time.Now(); ; {
		if err := s.attack(ctx, e); err != nil || time.Since(begun) >= s.duration {
			return err
		}
	}
}

// makeEvents lets a lock of a channel come and go until ctx ends.
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
