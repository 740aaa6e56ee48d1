// A Redis that goes away and comes back.
package e2e

import (
	"strings"
	"testing"
)

func TestARedisThatGoesAwayIsToldAndItsReturnIsNoticed(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	app := startSidecar(t, startMortise(t), "app", newResources(t, redis("locks", server)))
	u := app.user(t, "locks")
	u.takes("report", "alice")

	server.Stop()
	want := map[string]string{"lock": "ERR_TRY_LOCK", "unlock": "ERR_UNLOCK"}
	for verb, errorCode := range want {
		code, answer, err := app.http.post(t.Context(), verb, "locks", request{"report", "alice", minute}.json())
		if err != nil || code != 500 || !containsAll(answer, []string{`"errorCode":"` + errorCode + `"`, "connection refused", "report"}) {
			t.Errorf("%s: got %d %s, %v; want 500 %s with the cause", verb, code, answer, err, errorCode)
		}
		if strings.Contains(answer, secret) {
			t.Errorf("%s: the answer tells the password: %s", verb, answer)
		}
	}
	u.fails(request{"report", "alice", minute}, "code = Internal", "connection refused")

	server.Start()
	u.takes("report", "bob") // it forgot alice's lock, having no persistence
	u.frees("report", "bob")
}

func TestLocksOutliveARedisThatPersistsThem(t *testing.T) {
	t.Parallel()
	server := startPersistentRedis(t)
	u := startSidecar(t, startMortise(t), "app", newResources(t, redis("locks", server))).user(t, "locks")
	u.takes("report", "alice")
	server.Stop()
	u.fails(request{"report", "bob", minute}, "connection refused")
	server.Start()
	u.soon(false, "report", "bob")
	u.frees("report", "alice")
}
