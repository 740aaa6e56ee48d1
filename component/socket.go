package component

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// DefaultFolder is daprd's default sockets folder.
	DefaultFolder = "/tmp/dapr-components-sockets"

	// maxSocketPath is the length of the longest path of a socket: sun_path of unix(7)
	// without its final NUL.
	maxSocketPath = 107

	// dialTimeout bounds the attempt to connect to an existing socket file, which shows
	// whether a process listens on it.
	dialTimeout = time.Second
)

// FolderVariables are the environment variables that name the sockets folder; the first
// that is set counts. daprd reads the first, its injector sets the last for both
// containers, and Dapr's SDK for components reads the last two.
var FolderVariables = []string{
	"DAPR_COMPONENTS_SOCKETS_FOLDER",
	"DAPR_COMPONENT_SOCKETS_FOLDER",
	"DAPR_COMPONENT_SOCKET_FOLDER",
}

// socket is a Unix socket that appears at its path when publish is called.
//
// daprd connects to every socket in the folder and does not start if one does not answer.
// So the socket is created in a subfolder, which daprd skips, and renamed to its path
// when everything is ready. While the process runs it holds a lock on a file in the
// subfolder, so that a second process with the same name fails to start.
type socket struct {
	net.Listener
	path        string      // where the socket appears
	pendingPath string      // where the socket is until then
	lockFile    *os.File    // locked while the process uses the name
	published   os.FileInfo // the socket file at path; nil unless published
}

// listen creates the socket <folder>/<name>.sock, unpublished. It creates the folder if
// only its last element is missing.
func listen(folder, name string, mode os.FileMode) (*socket, error) {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return nil, fmt.Errorf("socket name must be a file name, got %q", name)
	}
	path := filepath.Join(folder, name+".sock")
	subfolder := filepath.Join(folder, "."+name)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("socket path must be at most %d bytes, got %d: %s", maxSocketPath, len(path), path)
	}
	for _, dir := range []string{folder, subfolder} {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("sockets folder: %w", err)
		}
	}
	s := &socket{path: path, pendingPath: filepath.Join(subfolder, "s")}
	if err := s.lockName(filepath.Join(subfolder, "lock")); err != nil {
		return nil, err
	}
	if err := s.listen(mode); err != nil {
		return nil, errors.Join(err, s.lockFile.Close())
	}
	return s, nil
}

// lockName locks the lock file, or fails if another process has locked it.
func (s *socket) lockName(file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return fmt.Errorf("sockets folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return fmt.Errorf("socket %s is in use by another process", s.path)
	}
	s.lockFile = f
	return nil
}

// listen listens at pendingPath, unless another program listens at path.
func (s *socket) listen(mode os.FileMode) error {
	if err := removeStale(s.path); err != nil {
		return err
	}
	if err := os.Remove(s.pendingPath); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("sockets folder: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.pendingPath, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	l.SetUnlinkOnClose(false) // because the path changes; unlink removes it
	if err := os.Chmod(s.pendingPath, mode); err != nil {
		return errors.Join(fmt.Errorf("socket mode: %w", err), l.Close())
	}
	s.Listener = l
	return nil
}

// removeStale removes a socket file on which no process listens, such as one of a process
// that was killed.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("socket: %w", err)
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("socket %s: the file exists and is not a socket", path)
	}
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("socket %s is in use by another process", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("socket %s may be in use: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("stale socket: %w", err)
	}
	return nil
}

// publish makes the socket appear at its path.
func (s *socket) publish() error {
	info, err := os.Lstat(s.pendingPath)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := os.Rename(s.pendingPath, s.path); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	s.published = info
	return nil
}

// unlink removes the socket file, unless another file has replaced it. The name stays
// locked. A second call does nothing.
func (s *socket) unlink() error {
	path := s.pendingPath
	if s.published != nil {
		path = s.path
	}
	info, err := os.Lstat(path)
	if err != nil || s.published != nil && !os.SameFile(info, s.published) {
		return nil
	}
	s.published = nil // a file that appears at path later is another process's
	return os.Remove(path)
}

// remove removes the socket file, if it exists, and unlocks the name. The subfolder
// stays: if the lock file were removed, two processes could lock two files of that name.
func (s *socket) remove() error { return errors.Join(s.unlink(), s.lockFile.Close()) }
