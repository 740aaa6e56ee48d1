// Component YAML that cannot work.
package e2e

import (
	"net"
	"testing"
)

// silence is a port that takes connections and never answers.
func silence(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestABadComponentIsToldByItsCause(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	impatient := redis("bad", server).with("redisHost", silence(t))
	impatient.initTimeout = "1s"
	rows := []struct {
		name string
		bad  component
		says []string // in one line of daprd's
	}{
		{"unknown store", memory("bad").with("store", "mongo"), []string{"store", "mongo", "must be one of memory, redis"}},
		{"unknown key", memory("bad").with("restartGrase", "1s"), []string{"restartGrase", "restartGrace"}},
		{"key of another store", memory("bad").with("redisHost", "h"), []string{"redisHost", "store: redis"}},
		{"key in two cases", memory("bad").with("STORE", "memory"), []string{"STORE and store differ only in case"}},
		{"bad duration", memory("bad").with("restartGrace", "soon"), []string{"restartGrace", "no duration such as"}},
		{"negative duration", memory("bad").with("restartGrace", "-1s"), []string{"restartGrace", "negative"}},
		{"bad truth value", redis("bad", server).with("enableTLS", "perhaps"), []string{"enableTLS", "must be true or false"}},
		{"bad number", redis("bad", server).with("redisDB", "one"), []string{"redisDB"}},
		{"no host", redis("bad", server).with("redisHost", ""), []string{"redisHost", "is empty"}},
		{"wrong password", redis("bad", server).with("redisPassword", "not-"+secret), []string{"WRONGPASS"}},
		{"no password", redis("bad", server).with("redisPassword", ""), []string{"NOAUTH"}},
		{"nobody listens", redis("bad", server).with("redisHost", "127.0.0.1:"+freePort(t)), []string{"connection refused"}},
		{"nobody answers", impatient, []string{"redis: connect: context deadline exceeded"}},
	}
	m := startMortise(t)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			row.says = append(row.says, "INIT_COMPONENT_FAILURE", "bad (lock.mortise/v1)")
			endsDaprd(t, m, row.bad, row.says)
			row.bad.ignoreErrors = true
			isIgnored(t, m, row.bad, row.says)
		})
	}
}

// With ignoreErrors daprd would use this component as if it had no keyPrefix: it files
// the store before it looks.
func TestAKeyPrefixWithTheSeparatorInItEndsDaprd(t *testing.T) {
	t.Parallel()
	bad := memory("bad").with("keyPrefix", "a||b")
	endsDaprd(t, startMortise(t), bad, []string{"bad (lock.mortise/v1)", "keyprefix", "'a||b' can't contain '||'"})
}

// endsDaprd expects that daprd does not start with the component.
func endsDaprd(t *testing.T, m *mortise, bad component, says []string) {
	t.Helper()
	daprd := launchSidecar(t, m.folder, "app", newResources(t, bad))
	if code := daprd.exitCode(); code == 0 {
		t.Error("daprd ended without an error")
	}
	if err := daprd.hasSaid(append(says, "level=fatal")...); err != nil {
		t.Error(err)
	}
}

// isIgnored expects that daprd starts, and that another component serves while this one
// does not.
func isIgnored(t *testing.T, m *mortise, bad component, says []string) {
	t.Helper()
	app := startSidecar(t, m, "app", newResources(t, bad, memory("good")))
	if err := app.hasSaid(says...); err != nil {
		t.Error(err)
	}
	good := app.user(t, "good")
	good.takes("report", "alice")
	good.frees("report", "alice")
	app.user(t, bad.name).fails(request{"report", "alice", minute}, "lock store bad not found")
}

func TestABadComponentIsServedOnceItsYAMLIsMended(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	bad := redis("locks", server).with("redisPassword", "not-"+secret)
	bad.ignoreErrors = true
	r := newResources(t, bad)
	app := startSidecar(t, startMortise(t), "app", r)
	app.says("locks (lock.mortise/v1)", "WRONGPASS")
	u := app.user(t, "locks")
	u.fails(request{"report", "alice", minute}, "lock store is not configured")

	r.write(bad.with("redisPassword", secret))
	u.soon(true, "report", "alice")
}
