// The end of Mortise, and a start that cannot be.
package e2e

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

func TestMortiseTakesItsSocketAwayWhenItIsAskedToEnd(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	startSidecar(t, m, "app", newResources(t, memory("locks"))).user(t, "locks").takes("report", "alice")
	if code := m.terminate(); code != 0 {
		t.Errorf("mortise ended with code %d, want 0", code)
	}
	if _, err := os.Stat(m.socket()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestASecondMortiseLeavesTheFirstOnesSocketAlone(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	u := startSidecar(t, m, "app", newResources(t, memory("locks"))).user(t, "locks")
	u.takes("report", "alice")

	second := start(t, "the second mortise", mortiseProgram.path, m.variables(), m.args...)
	if code := second.exitCode(); code == 0 {
		t.Error("the second ended without an error")
	}
	second.says("mortise:", m.socket(), "is in use by another process")

	u.isRefused("report", "bob")
	late := startSidecar(t, m, "app", newResources(t, memory("locks"))).user(t, "locks")
	late.frees("report", "alice")
}

func TestMortiseDoesNotStartWithWhatCannotWork(t *testing.T) {
	t.Parallel()
	bad := newResources(t, memory("locks").with("restartGrase", "1s"))
	down := newResources(t, redis("locks", startRedis(t)).with("redisHost", "127.0.0.1:"+freePort(t)))
	rows := []struct {
		name string
		args []string
		says []string
	}{
		{"unknown flag", []string{"--folder", "x"}, []string{"--folder"}},
		{"unknown argument", []string{"x"}, []string{`unknown argument "x"`}},
		{"unknown store", []string{"--default-store", "mongo"}, []string{"--default-store", "must be one of memory, redis"}},
		{"no resources", []string{"--resources-path", "/nowhere"}, []string{"resources path", "/nowhere"}},
		{"bad resource", []string{"--resources-path", bad.path}, []string{"locks.yaml", `component "locks"`, "restartGrase"}},
		{"no Redis", []string{"--resources-path", down.path}, []string{"locks.yaml", `component "locks"`, "connection refused"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			folder := socketsFolder(t)
			m := start(t, "mortise", mortiseProgram.path, inFolder(folder), row.args...)
			if code := m.exitCode(); code == 0 {
				t.Error("mortise ended without an error")
			}
			if err := m.hasSaid(append(row.says, "mortise:")...); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(folder + "/mortise.sock"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there is a socket: %v", err)
			}
		})
	}
}
