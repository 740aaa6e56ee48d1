// Mortise as a process that can be killed and started again.
package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// mortise is a Mortise and its sockets folder.
type mortise struct {
	*process
	folder string
	args   []string
	name   string // of the socket
}

// startMortise starts Mortise on a sockets folder of its own and waits until it serves.
func startMortise(t testing.TB, args ...string) *mortise {
	t.Helper()
	return startMortiseNamed(t, "mortise", args...)
}

// startMortiseNamed is startMortise for a component type other than lock.mortise.
func startMortiseNamed(t testing.TB, name string, args ...string) *mortise {
	t.Helper()
	args = append([]string{"--name", name, "--log-level", "debug"}, args...)
	m := &mortise{folder: socketsFolder(t), args: args, name: name}
	m.start(t)
	return m
}

// start starts Mortise, again if it ran before, and waits until it serves.
func (m *mortise) start(t testing.TB) {
	t.Helper()
	m.process = start(t, "mortise", mortiseProgram.path, m.variables(), m.args...)
	eventually(t, "mortise serves", func() error {
		if m.hasEnded() {
			t.Fatalf("mortise ended: %v", m.err)
		}
		conn, err := net.Dial("unix", m.socket())
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// crash kills Mortise and lets the absence pass.
func (m *mortise) crash(absence time.Duration) {
	m.kill()
	time.Sleep(absence) // nothing to wait for: it is time itself that makes the case
}

func (m *mortise) socket() string { return filepath.Join(m.folder, m.name+".sock") }

// variables are the environment by which Mortise and daprd know the folder.
func (m *mortise) variables() []string { return inFolder(m.folder) }

func inFolder(folder string) []string {
	return []string{fmt.Sprintf("DAPR_COMPONENTS_SOCKETS_FOLDER=%s", folder)}
}

// socketsFolder returns an empty folder with a short name: a socket's path has 107 bytes,
// and t.TempDir's are long.
func socketsFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
