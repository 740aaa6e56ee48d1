// Shutdown, and starts that fail.
package e2e

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

func TestShutdown_RemovesSocket(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	startSidecar(t, m, "app", newResources(t, memory("locks"))).user(t, "locks").acquires("report", "alice")
	if code := m.terminate(); code != 0 {
		t.Errorf("mortise: got exit code %d, want 0", code)
	}
	if _, err := os.Stat(m.socket()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket must be removed, got %v", err)
	}
}

func TestStart_SocketInUse(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	u := startSidecar(t, m, "app", newResources(t, memory("locks"))).user(t, "locks")
	u.acquires("report", "alice")

	second := start(t, "second mortise", mortiseProgram.path, m.variables(), m.args...)
	if code := second.exitCode(); code == 0 {
		t.Error("second mortise: got exit code 0, want an error")
	}
	second.awaitLine("mortise:", m.socket(), "is in use by another process")

	u.isRefused("report", "bob")
	other := startSidecar(t, m, "app", newResources(t, memory("locks"))).user(t, "locks")
	other.unlocks("report", "alice")
}

func TestStart_Invalid(t *testing.T) {
	t.Parallel()
	bad := newResources(t, memory("locks").with("restartGrase", "1s"))
	down := newResources(t, redis("locks", startRedis(t)).with("redisHost", "127.0.0.1:"+freePort(t)))
	rows := []struct {
		name string
		args []string
		want []string
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
				t.Error("mortise: got exit code 0, want an error")
			}
			if err := m.checkLine(append(row.want, "mortise:")...); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(folder + "/mortise.sock"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the socket must not exist, got %v", err)
			}
		})
	}
}
