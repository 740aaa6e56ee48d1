package rtm

import (
	"slices"
	"testing"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/test/servers"
)

// operations are all calls and streams.
var operations = []string{
	setLock, acquireLock, releaseLock, revokeLock, getLock, removeLock, keepAlive, logout, subscribe, session,
}

func TestRedis_Stopped(t *testing.T) {
	forEachAPI(t, "", func(t *testing.T, p target) {
		p.redis = startRedis(t)
		p.withEnv(t, nil, func(w *env) {
			w.user("ann").must(setLock, frontDesk)
			w.redis.Stop()
			for _, operation := range operations {
				_, err := w.callAsAnn(operation, frontDesk)
				w.checkStatus(operation, err, -14009, "")
			}
			_, err := w.callAsAnn(acquireLock, frontDesk.withRetry())
			w.checkStatus(acquireLock, err, -14009, "")
			w.redis.Start()
			w.waitUntil("setLock succeeds again", func() bool { return w.user("ann").code(setLock, frontDesk) == 0 })
		})
	})
}

// TestRedis_Paused suspends the server process. Calls then end with a timeout.
func TestRedis_Paused(t *testing.T) {
	t.Parallel()
	forEachAPI(t, "", func(t *testing.T, p target) {
		p.redis = startRedis(t)
		w := p.newEnv(t, 2*scenarioTimeout, nil, 1)
		w.user("ann").must(setLock, frontDesk)
		resume := w.redis.Pause()
		defer resume()
		begin := time.Now()
		var calls []*pendingCall
		for _, operation := range []string{setLock, acquireLock, releaseLock, revokeLock, getLock, removeLock} {
			calls = append(calls, w.user("bob").start(operation, frontDesk))
		}
		for _, call := range calls {
			if got := call.wait(); got != timeout && got != -14009 {
				w.Errorf("code of %s = %d: %v", call.operation, got, call.err)
			}
		}
		if took := time.Since(begin); took > 15*time.Second {
			w.Errorf("calls took %v, want at most 15s", took)
		}
	})
}

// TestRedis_ConnectionCut has a process that cannot connect to the server for a while.
func TestRedis_ConnectionCut(t *testing.T) {
	forEachAPI(t, "", func(t *testing.T, p target) {
		p.redis = startRedis(t)
		proxy := servers.StartProxy(t, p.redis.Addr)
		w := p.newEnv(t, scenarioTimeout, nil, 1)
		w.addService(newSet(t, registry(), map[string]string{"store": "redis", "redisHost": proxy.Addr, "redisDB": "1"}))
		near, far := w.user("ann"), user{w, w.apis[1], "ann"}
		near.must(setLock, frontDesk)
		near.must(setLock, frontDesk.withLock("back desk"))
		lost, kept := near.must(acquireLock, frontDesk).rev, near.must(acquireLock, frontDesk.withLock("back desk")).rev
		dora, _ := user{w, w.apis[1], "dora"}.subscribe(frontDesk)
		session, _ := far.openSession()

		mend := proxy.Cut()
		w.user("bob").must(revokeLock, frontDesk)
		rev := w.user("bob").must(acquireLock, frontDesk).rev
		near.must(setLock, frontDesk.withLock("window"))
		mend()

		want := []lock{
			{name: "back desk", owner: "ann", ttl: 30, rev: kept},
			{name: "front desk", owner: "bob", ttl: 30, rev: rev},
			{name: "window", ttl: 30},
		}
		if e := dora.next(); e.kind != rtmpb.LockEvent_SNAPSHOT || !slices.Equal(e.locks, want) {
			w.Errorf("event of the channel = %v of %+v, want a snapshot of %+v", e, e.locks, want)
		}
		own := []lock{{"house", messageType, "back desk", "ann", 30, kept}}
		if e := session.next(); e.kind != rtmpb.LockEvent_SNAPSHOT || !slices.Equal(e.locks, own) {
			w.Errorf("event of the session = %v of %+v, want a snapshot of %+v", e, e.locks, own)
		}
		if e := session.next(); e.String() != "EXPIRED ann" || e.rev != lost {
			w.Errorf("event of the session = %v with the token %d, want EXPIRED with %d", e, e.rev, lost)
		}
	})
}
