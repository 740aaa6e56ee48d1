// Lock events, by the input binding of an unmodified daprd.
package e2e

import "testing"

const (
	noLocks  = `{"kind":"SNAPSHOT","revision":N,"locks":[]}`
	acquired = `{"acquired":true,"expiresIn":"T","token":N}`
)

// eventOf is an event of the lock that these tests take as alice.
func eventOf(kind, ttl string) string {
	return `{"kind":"` + kind + `","revision":N,"key":"orders/1","owner":"alice","token":N,"ttl":"` + ttl + `"}`
}

// eachStockApp runs the test with a binding on memory and with one on Redis that tell an
// app of what the metadata says.
func eachStockApp(t *testing.T, key, value string, test func(b binding, a *app)) {
	t.Helper()
	m := startMortise(t)
	for _, lock := range []component{memory("memory"), redis("redis", startRedis(t))} {
		t.Run("kept in "+lock.name, func(t *testing.T) {
			t.Parallel()
			a := startApp(t)
			s := startStock(t, m, a, newResources(t, bindingOf(lock).with(key, value).with("user", "ann").with("retries", "1")))
			test(s.binding(t, lock.name), a)
		})
	}
}

func TestAStockDaprdTellsItsAppOfLocks(t *testing.T) {
	t.Parallel()
	eachStockApp(t, "keys", "orders/*", func(b binding, a *app) {
		a.isTold(noLocks)
		b.answers("tryLock", `{"key": "cash", "owner": "alice", "ttl": 60}`, acquired) // of which the app does not want to know
		token := b.answers("tryLock", `{"key": "orders/1", "owner": "alice", "ttl": 60}`, acquired)
		b.answers("tryLock", `{"key": "orders/1", "owner": "bob", "ttl": 60}`, `{"acquired":false}`)
		b.answers("unlock", `{"key": "orders/1", "owner": "alice"}`, `{"unlocked":true}`)
		for _, kind := range []string{"ACQUIRED", "RELEASED"} {
			if told := a.isTold(eventOf(kind, "60s")); told != token {
				b.t.Errorf("%s has the token %d, want %d", kind, told, token)
			}
		}
		b.answers("tryLock", `{"key": "orders/1", "owner": "alice", "ttl": 1}`, acquired)
		a.isTold(eventOf("ACQUIRED", "1s"))
		a.isTold(eventOf("EXPIRED", "1s"))
		b.answers("tryLock", `{"key": "orders/1", "owner": "alice", "ttl": 60}`, acquired)
		b.answers("revoke", `{"key": "orders/1"}`, `{"revoked":true}`)
		a.isTold(eventOf("ACQUIRED", "60s"))
		a.isTold(eventOf("REVOKED", "60s"))
	})
}

func TestAStockDaprdTellsItsAppOfChannels(t *testing.T) {
	t.Parallel()
	const lock = `"channel":"lobby","channelType":"MESSAGE","lockName":"disk"`
	eachStockApp(t, "channels", "MESSAGE/lobby", func(b binding, a *app) {
		a.isTold(`{"eventType":1,"channel":"lobby","channelType":"MESSAGE","locks":[]}`)
		b.answers("setLock", `{`+lock+`}`, `{"errorCode":0,`+lock+`,"ttl":10}`)
		a.isTold(`{"eventType":2,` + lock + `,"owner":"","ttl":10,"lockRev":0}`)
		token := b.answers("acquireLock", `{`+lock+`, "user": "bob"}`, `{"errorCode":0,`+lock+`,"ttl":10,"lockRev":N}`)
		if told := a.isTold(`{"eventType":4,` + lock + `,"owner":"bob","ttl":10,"lockRev":N}`); told != token {
			b.t.Errorf("the event has the token %d, want %d", told, token)
		}
		b.answers("releaseLock", `{`+lock+`, "user": "bob"}`, `{"errorCode":0,`+lock+`}`)
		a.isTold(`{"eventType":5,` + lock + `,"owner":"bob","ttl":10,"lockRev":N}`)
		b.answers("removeLock", `{`+lock+`}`, `{"errorCode":0,`+lock+`}`)
		a.isTold(`{"eventType":3,` + lock + `,"owner":"","ttl":10,"lockRev":0}`)
	})
}

func TestAnAppThatFailsGetsTheEventAgain(t *testing.T) {
	t.Parallel()
	eachStockApp(t, "keys", "orders/1", func(b binding, a *app) {
		a.isTold(noLocks)
		a.fails <- struct{}{}
		b.answers("tryLock", `{"key": "orders/1", "owner": "alice", "ttl": 60}`, acquired)
		b.answers("unlock", `{"key": "orders/1", "owner": "alice"}`, `{"unlocked":true}`)
		if first, second := a.isTold(eventOf("ACQUIRED", "60s")), a.isTold(eventOf("ACQUIRED", "60s")); first != second {
			b.t.Errorf("the tokens are %d and %d", first, second)
		}
		a.isTold(eventOf("RELEASED", "60s"))
	})
}

func TestAnAppThatFailsTooOftenIsToldHowThingsAre(t *testing.T) {
	t.Parallel()
	eachStockApp(t, "keys", "orders/1", func(b binding, a *app) {
		a.isTold(noLocks)
		a.fails <- struct{}{}
		a.fails <- struct{}{}
		b.answers("tryLock", `{"key": "orders/1", "owner": "alice", "ttl": 60}`, acquired)
		a.isTold(eventOf("ACQUIRED", "60s"))
		a.isTold(eventOf("ACQUIRED", "60s")) // retries says once
		a.isTold(`{"kind":"SNAPSHOT","revision":N,"locks":[{"key":"orders/1","owner":"alice","token":N,"ttl":"60s",` +
			`"remaining":"T"}],"missed":true}`)
		b.answers("unlock", `{"key": "orders/1", "owner": "alice"}`, `{"unlocked":true}`)
		a.isTold(eventOf("RELEASED", "60s"))
	})
}

func TestABindingTellsOfALockComponentsLocks(t *testing.T) {
	t.Parallel()
	lock := memory("locks").with("keyPrefix", "none")
	m, a := startMortise(t, "--resources-path", newResources(t, lock).path), startApp(t)
	b := startStock(t, m, a, newResources(t, component{name: "events", kind: "bindings.mortise", metadata: map[string]string{
		"lockStore": "locks", "keys": "lock||orders/1",
	}})).binding(t, "events")
	a.isTold(noLocks)

	shop := startSidecar(t, m, "shop", newResources(t, lock)).user(t, "locks")
	shop.takes("orders/1", "alice")
	a.isTold(`{"kind":"ACQUIRED","revision":N,"key":"lock||orders/1","owner":"alice","token":N,"ttl":"60s"}`)
	b.answers("tryLock", `{"key": "lock||orders/1", "owner": "bob", "ttl": 60}`, `{"acquired":false}`)
	b.answers("revoke", `{"key": "lock||orders/1"}`, `{"revoked":true}`)
	a.isTold(`{"kind":"REVOKED","revision":N,"key":"lock||orders/1","owner":"alice","token":N,"ttl":"60s"}`)
	shop.gets(doesNotExist, "orders/1", "alice")
}
