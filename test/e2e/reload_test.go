// Component YAML that changes under a running daprd, which reads it again by itself.
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

	// A grace longer than the test shows in refusals, and its end in grants.
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
	u.eventuallyTryLock(true, "report", "bob") // another key now

	r.write(locks)
	eventually(t, "alice's lock is back, and hers to free", func() error {
		got, err := u.unlock(request{resource: "report", owner: "alice"})
		if err == nil && got != unlocked {
			err = fmt.Errorf("unlock gives %d", got)
		}
		return err
	})
	u.acquires("report", "carol")
}

// Without ignoreErrors, daprd ends over the mistake. With it, daprd goes on without the
// component.
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
	u.eventuallyTryLock(true, "report", "alice") // Redis knows nothing of memory's locks
	u.isRefused("report", "bob")

	// And it is really there: a Mortise that never saw the YAML before finds it.
	other := startSidecar(t, startMortise(t), "app", newResources(t, moved)).user(t, "locks")
	other.isRefused("report", "bob")
	other.unlocks("report", "alice")
}
