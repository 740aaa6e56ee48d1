// A Redis that stops and restarts.
package e2e

import (
	"strings"
	"testing"
)

func TestOutage_RedisRestarts(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	app := startSidecar(t, startMortise(t), "app", newResources(t, redis("locks", server)))
	u := app.user(t, "locks")
	u.acquires("report", "alice")

	server.Stop()
	want := map[string]string{"lock": "ERR_TRY_LOCK", "unlock": "ERR_UNLOCK"}
	for verb, errorCode := range want {
		code, answer, err := app.http.post(t.Context(), verb, "locks", request{"report", "alice", minute}.json())
		if err != nil || code != 500 || !containsAll(answer, []string{`"errorCode":"` + errorCode + `"`, "connection refused", "report"}) {
			t.Errorf("%s: got %d %s, %v; want 500 %s with the cause", verb, code, answer, err, errorCode)
		}
		if strings.Contains(answer, secret) {
			t.Errorf("%s: the response contains the password: %s", verb, answer)
		}
	}
	u.fails(request{"report", "alice", minute}, "code = Internal", "connection refused")

	server.Start()
	u.acquires("report", "bob") // alice's lock was not persisted
	u.unlocks("report", "bob")
}

func TestOutage_PersistentRedis(t *testing.T) {
	t.Parallel()
	server := startPersistentRedis(t)
	u := startSidecar(t, startMortise(t), "app", newResources(t, redis("locks", server))).user(t, "locks")
	u.acquires("report", "alice")
	server.Stop()
	u.fails(request{"report", "bob", minute}, "connection refused")
	server.Start()
	u.eventuallyTryLock(false, "report", "bob")
	u.unlocks("report", "alice")
}
