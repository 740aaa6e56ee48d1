// Component YAML that changes while daprd runs. daprd reloads it automatically.
package e2e

import (
	"fmt"
	"testing"
)

func TestReload_KeepsMemoryLocks(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	locks := memory("locks")
	r := newResources(t, locks)
	u := startSidecar(t, m, "app", r).user(t, "locks")
	u.acquires("report", "alice")

	// During restartGrace all requests are refused, and after its end they are granted.
	r.write(locks.with("restartGrace", "1h"))
	u.eventuallyTryLock(false, "probe 1", "bob")
	u.unlockReturns(belongsToOthers, "report", "bob")

	r.write(locks)
	u.eventuallyTryLock(true, "probe 2", "bob")
	u.isRefused("report", "bob")
	u.unlocks("report", "alice")
	u.acquires("report", "bob")
}

func TestReload_KeyPrefixRestored(t *testing.T) {
	t.Parallel()
	locks := memory("locks")
	r := newResources(t, locks)
	u := startSidecar(t, startMortise(t), "app", r).user(t, "locks")
	u.acquires("report", "alice")

	r.write(locks.with("keyPrefix", "none"))
	u.eventuallyTryLock(true, "report", "bob") // the key is another one

	r.write(locks)
	eventually(t, "alice unlocks", func() error {
		got, err := u.unlock(request{resource: "report", owner: "alice"})
		if err == nil && got != unlocked {
			err = fmt.Errorf("got status %d", got)
		}
		return err
	})
	u.acquires("report", "carol")
}

// Without ignoreErrors, daprd would end. With it, daprd continues without the component.
func TestReload_InvalidYAML(t *testing.T) {
	t.Parallel()
	locks := memory("locks")
	locks.ignoreErrors = true
	r := newResources(t, locks)
	app := startSidecar(t, startMortise(t), "app", r)
	u := app.user(t, "locks")
	u.acquires("report", "alice")

	r.write(locks.with("restartGrase", "1s"))
	app.awaitLine("locks (lock.mortise/v1)", "restartGrase", "restartGrace")
	u.fails(request{"report", "alice", minute}, "lock store is not configured")

	r.write(locks)
	u.eventuallyTryLock(false, "report", "bob")
	u.unlocks("report", "alice")
}

func TestReload_MemoryToRedis(t *testing.T) {
	t.Parallel()
	r := newResources(t, memory("locks"))
	u := startSidecar(t, startMortise(t), "app", r).user(t, "locks")
	u.acquires("report", "alice")

	server := startRedis(t)
	moved := redis("locks", server)
	r.write(moved)
	u.eventuallyTryLock(true, "report", "alice") // Redis does not have memory's locks
	u.isRefused("report", "bob")

	// Another Mortise finds the lock in Redis.
	other := startSidecar(t, startMortise(t), "app", newResources(t, moved)).user(t, "locks")
	other.isRefused("report", "bob")
	other.unlocks("report", "alice")
}
