// A Mortise, or a Redis, that stops while an unmodified daprd runs.
package e2e

import (
	"syscall"
	"testing"
)

func TestBinding_ServerCrash(t *testing.T) {
	t.Parallel()
	r := newResources(t, bindingOf(redis("locks", startRedis(t))).with("keys", "orders/*"))
	m, a := startMortise(t, "--resources-path", r.path), startApp(t)
	s := startStockSidecar(t, m, a, r)
	b := s.binding(t, "locks")
	a.receives(noLocks)
	b.returns("tryLock", `{"key": "orders/1", "owner": "alice", "ttl": 60}`, acquired)
	a.receives(eventOf("ACQUIRED", "60s"))

	m.crash(disconnectTime)
	b.fails("list", `{}`, "code = Unavailable", "mortise.sock")
	m.start(t)
	b.eventually("tryLock", `{"key": "orders/1", "owner": "bob", "ttl": 60}`, `{"acquired":false}`)
	b.returns("setLock", `{"user": "ann", "channel": "c", "channelType": "STREAM", "lockName": "l"}`,
		`{"errorCode":0,"channel":"c","channelType":"STREAM","lockName":"l","ttl":10}`)
	b.returns("unlock", `{"key": "orders/1", "owner": "alice"}`, `{"unlocked":true}`)

	// daprd does not call Read again until it reloads.
	b.returns("tryLock", `{"key": "orders/1", "owner": "alice", "ttl": 60}`, acquired)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	a.receives(`{"kind":"SNAPSHOT","revision":N,"locks":[{"key":"orders/1","owner":"alice","token":N,"ttl":"60s","remaining":"T"}]}`)
	b.eventually("unlock", `{"key": "orders/1", "owner": "alice"}`, `{"unlocked":true}`)
	a.receives(eventOf("RELEASED", "60s"))
}

func TestBinding_NotInitialized(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	b := startStockSidecar(t, m, nil, newResources(t, bindingOf(memory("locks")))).binding(t, "locks")
	b.returns("list", `{}`, `{"locks":[]}`)
	m.crash(disconnectTime)
	m.start(t)
	eventually(t, "the binding fails", func() error {
		return b.checkFailure("list", `{}`, "code = FailedPrecondition", `NOT_INITIALIZED: binding \"locks\"`, "--resources-path")
	})
}

func TestBinding_RedisUnreachable(t *testing.T) {
	t.Parallel()
	server := startPersistentRedis(t)
	b := startStockSidecar(t, startMortise(t), nil, newResources(t, bindingOf(redis("locks", server)))).binding(t, "locks")
	b.returns("tryLock", `{"key": "k", "owner": "alice", "ttl": 60}`, acquired)
	server.Stop()
	b.fails("unlock", `{"key": "k", "owner": "alice"}`, "code = Unavailable", "connection refused")
	b.fails("getLock", `{"user": "ann", "channel": "c", "channelType": 1}`, "-14009 LOCK_NOT_AVAILABLE")
	server.Start()
	b.eventually("tryLock", `{"key": "k", "owner": "bob", "ttl": 60}`, `{"acquired":false}`)
	b.returns("unlock", `{"key": "k", "owner": "alice"}`, `{"unlocked":true}`)
}
