// Migration from Dapr's built-in lock.redis to Mortise, without stopping the apps.
package e2e

import (
	"testing"

	"github.com/mortise-lock/mortise/test/servers"
)

func TestMigration_SharedLocks(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	r := newResources(t,
		builtin("builtin", server).with("keyPrefix", "none"),
		redis("mortise", server).with("keyPrefix", "none"))
	app := startSidecar(t, startMortise(t), "app", r)
	for _, direction := range [][2]string{{"builtin", "mortise"}, {"mortise", "builtin"}} {
		t.Run("locked through "+direction[0], func(t *testing.T) {
			holder, other := app.user(t, direction[0]), app.user(t, direction[1])

			holder.acquires("report", "alice")
			other.isRefused("report", "bob")
			other.unlockReturns(belongsToOthers, "report", "bob")
			holder.isRefused("report", "bob")

			other.unlocks("report", "alice")
			holder.unlockReturns(doesNotExist, "report", "alice")
			other.acquires("report", "bob")
			holder.isRefused("report", "carol")
			holder.unlocks("report", "bob")

			holder.acquiresFor(1, "report", "alice")
			other.isRefused("report", "bob")
			other.eventuallyTryLock(true, "report", "bob")
			holder.isRefused("report", "alice")
			holder.unlocks("report", "bob")
		})
	}
}

// wholeBuiltin returns a component of the built-in lock.redis with the keys that are
// common in practice.
func wholeBuiltin(server *servers.Redis) component {
	return builtin("locks", server).
		with("redisUsername", "").
		with("redisDB", "1").
		with("redisType", "node").
		with("failover", "false").
		with("enableTLS", "false").
		with("maxRetries", "3").
		with("maxRetryBackoff", "2000000000").
		with("redisMaxRetryInterval", "5s").
		with("dialTimeout", "5s").
		with("readTimeout", "3000").
		with("redeliverInterval", "60s").
		with("queryIndexes", "").
		with("poolSize", "20").
		with("idleCheckFrequency", "-1")
}

func TestMigration_TypeChanged(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	before := wholeBuiltin(server)
	after := before
	after.kind = "lock.mortise"

	old := startSidecarIn(t, socketsFolder(t), "app", newResources(t, before)).user(t, "locks")
	old.acquires("report", "alice")
	m := startMortise(t, "--default-store", "redis")
	u := startSidecar(t, m, "app", newResources(t, after)).user(t, "locks")
	u.isRefused("report", "bob")
	u.unlocks("report", "alice")
	u.acquires("report", "bob")
	old.isRefused("report", "alice")
	m.awaitLine("Component is open", "instance=locks")
}

func TestMigration_UnchangedYAML(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	r := newResources(t, wholeBuiltin(server))

	old := startSidecarIn(t, socketsFolder(t), "app", r).user(t, "locks")
	old.acquires("report", "alice")
	m := startMortiseNamed(t, "redis", "--default-store", "redis", "--resources-path", r.path)
	m.awaitLine("Component is open", "component=lock.redis", "instance=locks")
	app := startSidecar(t, m, "app", r)
	app.awaitLine("Initialized pluggable lock store locks")
	u := app.user(t, "locks")
	u.isRefused("report", "bob")
	u.unlocks("report", "alice")
	u.acquires("report", "bob")
	old.isRefused("report", "alice")
}

func TestMigration_RunningSidecar(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	before := wholeBuiltin(server)
	r := newResources(t, before)
	m := startMortise(t, "--default-store", "redis")
	app := startSidecar(t, m, "app", r)
	u := app.user(t, "locks")
	u.acquires("report", "alice")

	after := before
	after.kind = "lock.mortise"
	r.write(after)
	m.awaitLine("Component is open", "instance=locks")
	u.eventuallyTryLock(false, "report", "bob")
	u.unlocks("report", "alice")
}
