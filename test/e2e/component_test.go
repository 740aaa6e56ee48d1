// Invalid component YAML.
package e2e

import (
	"net"
	"testing"
)

// silentAddr returns the address of a listener that accepts connections and never
// answers.
func silentAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestComponent_Invalid(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	silent := redis("bad", server).with("redisHost", silentAddr(t))
	silent.initTimeout = "1s"
	rows := []struct {
		name string
		bad  component
		want []string // parts of one line of daprd's log
	}{
		{"unknown store", memory("bad").with("store", "mongo"), []string{"store", "mongo", "must be one of memory, redis"}},
		{"unknown key", memory("bad").with("restartGrase", "1s"), []string{"restartGrase", "restartGrace"}},
		{"key of another store", memory("bad").with("redisHost", "h"), []string{"redisHost", "store: redis"}},
		{"key in two cases", memory("bad").with("STORE", "memory"), []string{"STORE and store differ only in case"}},
		{"bad duration", memory("bad").with("restartGrace", "soon"), []string{"restartGrace", "must be a duration such as"}},
		{"negative duration", memory("bad").with("restartGrace", "-1s"), []string{"restartGrace", "negative"}},
		{"bad truth value", redis("bad", server).with("enableTLS", "perhaps"), []string{"enableTLS", "must be true or false"}},
		{"bad number", redis("bad", server).with("redisDB", "one"), []string{"redisDB"}},
		{"no host", redis("bad", server).with("redisHost", ""), []string{"redisHost", "must not be empty"}},
		{"wrong password", redis("bad", server).with("redisPassword", "not-"+secret), []string{"WRONGPASS"}},
		{"no password", redis("bad", server).with("redisPassword", ""), []string{"NOAUTH"}},
		{"connection refused", redis("bad", server).with("redisHost", "127.0.0.1:"+freePort(t)), []string{"connection refused"}},
		{"no answer", silent, []string{"redis: connect: context deadline exceeded"}},
	}
	m := startMortise(t)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			row.want = append(row.want, "INIT_COMPONENT_FAILURE", "bad (lock.mortise/v1)")
			expectStartFailure(t, m, row.bad, row.want)
			row.bad.ignoreErrors = true
			expectIgnored(t, m, row.bad, row.want)
		})
	}
}

// With ignoreErrors, daprd would serve this component as if it had no keyPrefix: it
// registers the store before it checks the prefix.
func TestComponent_InvalidKeyPrefix(t *testing.T) {
	t.Parallel()
	bad := memory("bad").with("keyPrefix", "a||b")
	expectStartFailure(t, startMortise(t), bad, []string{"bad (lock.mortise/v1)", "keyprefix", "'a||b' can't contain '||'"})
}

// expectStartFailure fails the test unless daprd fails to start with the component.
func expectStartFailure(t *testing.T, m *mortise, bad component, want []string) {
	t.Helper()
	daprd := launchSidecar(t, m.folder, "app", newResources(t, bad))
	if code := daprd.exitCode(); code == 0 {
		t.Error("daprd: got exit code 0, want an error")
	}
	if err := daprd.checkLine(append(want, "level=fatal")...); err != nil {
		t.Error(err)
	}
}

// expectIgnored fails the test unless daprd starts and serves another component but not
// this one.
func expectIgnored(t *testing.T, m *mortise, bad component, want []string) {
	t.Helper()
	app := startSidecar(t, m, "app", newResources(t, bad, memory("good")))
	if err := app.checkLine(want...); err != nil {
		t.Error(err)
	}
	good := app.user(t, "good")
	good.acquires("report", "alice")
	good.unlocks("report", "alice")
	app.user(t, bad.name).fails(request{"report", "alice", minute}, "lock store bad not found")
}

func TestComponent_Corrected(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	bad := redis("locks", server).with("redisPassword", "not-"+secret)
	bad.ignoreErrors = true
	r := newResources(t, bad)
	app := startSidecar(t, startMortise(t), "app", r)
	app.awaitLine("locks (lock.mortise/v1)", "WRONGPASS")
	u := app.user(t, "locks")
	u.fails(request{"report", "alice", minute}, "lock store is not configured")

	r.write(bad.with("redisPassword", secret))
	u.eventuallyTryLock(true, "report", "alice")
}
