// A Mortise, or a Redis, that goes away under an unmodified daprd.
package e2e

import (
	"syscall"
	"testing"
)

func TestAStockDaprdsBindingOutlivesACrashOfMortise(t *testing.T) {
	t.Parallel()
	r := newResources(t, bindingOf(redis("locks", startRedis(t))).with("keys", "orders/*"))
	m, a := startMortise(t, "--resources-path", r.path), startApp(t)
	s := startStock(t, m, a, r)
	b := s.binding(t, "locks")
	a.isTold(noLocks)
	b.answers("tryLock", `{"key": "orders/1", "owner": "alice", "ttl": 60}`, acquired)
	a.isTold(eventOf("ACQUIRED", "60s"))

	m.crash(moment)
	b.fails("list", `{}`, "code = Unavailable", "mortise.sock")
	m.start(t)
	b.soon("tryLock", `{"key": "orders/1", "owner": "bob", "ttl": 60}`, `{"acquired":false}`)
	b.answers("setLock", `{"user": "ann", "channel": "c", "channelType": "STREAM", "lockName": "l"}`,
		`{"errorCode":0,"channel":"c","channelType":"STREAM","lockName":"l","ttl":10}`)
	b.answers("unlock", `{"key": "orders/1", "owner": "alice"}`, `{"unlocked":true}`)

	// daprd does not read again by itself, only when it reloads.
	b.answers("tryLock", `{"key": "orders/1", "owner": "alice", "ttl": 60}`, acquired)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	a.isTold(`{"kind":"SNAPSHOT","revision":N,"locks":[{"key":"orders/1","owner":"alice","token":N,"ttl":"60s","remaining":"T"}]}`)
	b.soon("unlock", `{"key": "orders/1", "owner": "alice"}`, `{"unlocked":true}`)
	a.isTold(eventOf("RELEASED", "60s"))
}

func TestAStockDaprdIsToldThatMortiseDoesNotKnowItsBindingAnyMore(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	b := startStock(t, m, nil, newResources(t, bindingOf(memory("locks")))).binding(t, "locks")
	b.answers("list", `{}`, `{"locks":[]}`)
	m.crash(moment)
	m.start(t)
	eventually(t, "the app is told", func() error {
		return b.failure("list", `{}`, "code = FailedPrecondition", `NOT_INITIALIZED: binding \"locks\"`, "--resources-path")
	})
}

func TestAStockDaprdIsToldThatRedisIsAway(t *testing.T) {
	t.Parallel()
	server := startPersistentRedis(t)
	b := startStock(t, startMortise(t), nil, newResources(t, bindingOf(redis("locks", server)))).binding(t, "locks")
	b.answers("tryLock", `{"key": "k", "owner": "alice", "ttl": 60}`, acquired)
	server.Stop()
	b.fails("unlock", `{"key": "k", "owner": "alice"}`, "code = Unavailable", "connection refused")
	b.fails("getLock", `{"user": "ann", "channel": "c", "channelType": 1}`, "-14009 LOCK_NOT_AVAILABLE")
	server.Start()
	b.soon("tryLock", `{"key": "k", "owner": "bob", "ttl": 60}`, `{"acquired":false}`)
	b.answers("unlock", `{"key": "k", "owner": "alice"}`, `{"unlocked":true}`)
}
