// A daprd without permission for one of the sockets in its folder.
package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// unprivilegedUID is the ID of a user that owns no files.
const unprivilegedUID = 65534

// chmod sets the mode of a file.
func chmod(t testing.TB, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestSidecar_SocketPermission(t *testing.T) {
	t.Parallel()
	m := startMortiseNamed(t, "open", "--socket-mode", "0666")
	denied := startMortiseNamed(t, "denied", "--socket-mode", "0600")
	socket := filepath.Join(m.folder, "denied.sock")
	if err := os.Rename(denied.socket(), socket); err != nil {
		t.Fatal(err)
	}
	// Its parent is accessible to other users.
	r := resources{t: t, path: socketsFolder(t)}
	r.write(component{name: "locks", kind: "lock.open", metadata: map[string]string{"store": "memory"}})
	for _, path := range []string{m.folder, r.path} {
		chmod(t, path, 0o755)
	}
	chmod(t, filepath.Join(r.path, "locks.yaml"), 0o644)

	s := &sidecar{program: &daprdProgram, app: "app", folder: m.folder, resources: r}
	if os.Geteuid() == 0 { // modes do not apply to root
		s.runAs = &syscall.Credential{Uid: unprivilegedUID, Gid: unprivilegedUID}
	} else {
		chmod(t, socket, 0)
	}
	s.launch(t)
	s.awaitLine("level=error", "Skipping socket "+socket, "permission denied", "--socket-mode")
	s.awaitReady(t)
	u := s.user(t, "locks")
	u.acquires("invoice", "alice")
	u.isRefused("invoice", "bob")
	u.unlocks("invoice", "alice")
}
