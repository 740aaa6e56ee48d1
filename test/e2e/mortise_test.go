// A Mortise process that can be killed and restarted.
package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// mortise is a Mortise process and its sockets folder.
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

// start starts or restarts Mortise, and waits until it serves.
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

// crash kills Mortise and waits for the absence.
func (m *mortise) crash(absence time.Duration) {
	m.kill()
	time.Sleep(absence) // no event to wait for: the case is the length of the absence
}

func (m *mortise) socket() string { return filepath.Join(m.folder, m.name+".sock") }

// variables returns the environment variables that name the folder.
func (m *mortise) variables() []string { return inFolder(m.folder) }

func inFolder(folder string) []string {
	return []string{fmt.Sprintf("DAPR_COMPONENTS_SOCKETS_FOLDER=%s", folder)}
}

// socketsFolder returns an empty folder with a short name: a socket's path has at most
// 107 bytes, and t.TempDir's are long.
func socketsFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
