// Lock events, by the input binding of an unmodified daprd.
package e2e

import "testing"

const (
	noLocks  = `{"kind":"SNAPSHOT","revision":N,"locks":[]}`
	acquired = `{"acquired":true,"expiresIn":"T","token":N}`
)

// eventOf returns an event of alice's lock on orders/1.
func eventOf(kind, ttl string) string {
	return `{"kind":"` + kind + `","revision":N,"key":"orders/1","owner":"alice","token":N,"ttl":"` + ttl + `"}`
}

// forEachInputBinding runs the test with a binding on memory and with one on Redis that
// send an app the events that the metadata selects.
func forEachInputBinding(t *testing.T, key, value string, test func(b binding, a *app)) {
	t.Helper()
	m := startMortise(t)
	for _, lock := range []component{memory("memory"), redis("redis", startRedis(t))} {
		t.Run(lock.name+" store", func(t *testing.T) {
			t.Parallel()
			a := startApp(t)
			s := startStockSidecar(t, m, a, newResources(t, bindingOf(lock).with(key, value).with("user", "ann").with("retries", "1")))
			test(s.binding(t, lock.name), a)
		})
	}
}

func TestBinding_LockEvents(t *testing.T) {
	t.Parallel()
	forEachInputBinding(t, "keys", "orders/*", func(b binding, a *app) {
		a.receives(noLocks)
		// The binding does not select this key.
		b.returns("tryLock", `{"key": "cash", "owner": "alice", "ttl": 60}`, acquired)
		token := b.returns("tryLock", `{"key": "orders/1", "owner": "alice", "ttl": 60}`, acquired)
		b.returns("tryLock", `{"key": "orders/1", "owner": "bob", "ttl": 60}`, `{"acquired":false}`)
		b.returns("unlock", `{"key": "orders/1", "owner": "alice"}`, `{"unlocked":true}`)
		for _, kind := range []string{"ACQUIRED", "RELEASED"} {
			if got := a.receives(eventOf(kind, "60s")); got != token {
				b.t.Errorf("%s: got the token %d, want %d", kind, got, token)
			}
		}
		b.returns("tryLock", `{"key": "orders/1", "owner": "alice", "ttl": 1}`, acquired)
		a.receives(eventOf("ACQUIRED", "1s"))
		a.receives(eventOf("EXPIRED", "1s"))
		b.returns("tryLock", `{"key": "orders/1", "owner": "alice", "ttl": 60}`, acquired)
		b.returns("revoke", `{"key": "orders/1"}`, `{"revoked":true}`)
		a.receives(eventOf("ACQUIRED", "60s"))
		a.receives(eventOf("REVOKED", "60s"))
	})
}

func TestBinding_ChannelEvents(t *testing.T) {
	t.Parallel()
	const lock = `"channel":"lobby","channelType":"MESSAGE","lockName":"disk"`
	forEachInputBinding(t, "channels", "MESSAGE/lobby", func(b binding, a *app) {
		a.receives(`{"eventType":1,"channel":"lobby","channelType":"MESSAGE","locks":[]}`)
		b.returns("setLock", `{`+lock+`}`, `{"errorCode":0,`+lock+`,"ttl":10}`)
		a.receives(`{"eventType":2,` + lock + `,"owner":"","ttl":10,"lockRev":0}`)
		token := b.returns("acquireLock", `{`+lock+`, "user": "bob"}`, `{"errorCode":0,`+lock+`,"ttl":10,"lockRev":N}`)
		if got := a.receives(`{"eventType":4,` + lock + `,"owner":"bob","ttl":10,"lockRev":N}`); got != token {
			b.t.Errorf("event: got the token %d, want %d", got, token)
		}
		b.returns("releaseLock", `{`+lock+`, "user": "bob"}`, `{"errorCode":0,`+lock+`}`)
		a.receives(`{"eventType":5,` + lock + `,"owner":"bob","ttl":10,"lockRev":N}`)
		b.returns("removeLock", `{`+lock+`}`, `{"errorCode":0,`+lock+`}`)
		a.receives(`{"eventType":3,` + lock + `,"owner":"","ttl":10,"lockRev":0}`)
	})
}

func TestBinding_EventRetried(t *testing.T) {
	t.Parallel()
	forEachInputBinding(t, "keys", "orders/1", func(b binding, a *app) {
		a.receives(noLocks)
		a.failures <- struct{}{}
		b.returns("tryLock", `{"key": "orders/1", "owner": "alice", "ttl": 60}`, acquired)
		b.returns("unlock", `{"key": "orders/1", "owner": "alice"}`, `{"unlocked":true}`)
		if first, second := a.receives(eventOf("ACQUIRED", "60s")), a.receives(eventOf("ACQUIRED", "60s")); first != second {
			b.t.Errorf("got the tokens %d and %d", first, second)
		}
		a.receives(eventOf("RELEASED", "60s"))
	})
}

func TestBinding_SnapshotAfterFailures(t *testing.T) {
	t.Parallel()
	forEachInputBinding(t, "keys", "orders/1", func(b binding, a *app) {
		a.receives(noLocks)
		a.failures <- struct{}{}
		a.failures <- struct{}{}
		b.returns("tryLock", `{"key": "orders/1", "owner": "alice", "ttl": 60}`, acquired)
		a.receives(eventOf("ACQUIRED", "60s"))
		a.receives(eventOf("ACQUIRED", "60s")) // retries is 1
		a.receives(`{"kind":"SNAPSHOT","revision":N,"locks":[{"key":"orders/1","owner":"alice","token":N,"ttl":"60s",` +
			`"remaining":"T"}],"missed":true}`)
		b.returns("unlock", `{"key": "orders/1", "owner": "alice"}`, `{"unlocked":true}`)
		a.receives(eventOf("RELEASED", "60s"))
	})
}

func TestBinding_LockComponentEvents(t *testing.T) {
	t.Parallel()
	lock := memory("locks").with("keyPrefix", "none")
	m, a := startMortise(t, "--resources-path", newResources(t, lock).path), startApp(t)
	b := startStockSidecar(t, m, a, newResources(t, component{name: "events", kind: "bindings.mortise", metadata: map[string]string{
		"lockStore": "locks", "keys": "lock||orders/1",
	}})).binding(t, "events")
	a.receives(noLocks)

	shop := startSidecar(t, m, "shop", newResources(t, lock)).user(t, "locks")
	shop.acquires("orders/1", "alice")
	a.receives(`{"kind":"ACQUIRED","revision":N,"key":"lock||orders/1","owner":"alice","token":N,"ttl":"60s"}`)
	b.returns("tryLock", `{"key": "lock||orders/1", "owner": "bob", "ttl": 60}`, `{"acquired":false}`)
	b.returns("revoke", `{"key": "lock||orders/1"}`, `{"revoked":true}`)
	a.receives(`{"kind":"REVOKED","revision":N,"key":"lock||orders/1","owner":"alice","token":N,"ttl":"60s"}`)
	shop.unlockReturns(doesNotExist, "orders/1", "alice")
}
