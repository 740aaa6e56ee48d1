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
	// DefaultFolder is where daprd looks for sockets if nobody tells it otherwise.
	DefaultFolder = "/tmp/dapr-components-sockets"

	// maxSocketPath is the longest path a socket can have: sun_path of unix(7) without
	// its closing NUL.
	maxSocketPath = 107

	// dialTimeout is how long a socket file that is in our place gets to prove that
	// somebody listens on it.
	dialTimeout = time.Second
)

// FolderVariables are the environment variables that name the sockets folder, the first
// that is set counts. daprd reads the first, its injector sets the last on both
// containers, and Dapr's SDK for components reads the last two.
var FolderVariables = []string{
	"DAPR_COMPONENTS_SOCKETS_FOLDER",
	"DAPR_COMPONENT_SOCKETS_FOLDER",
	"DAPR_COMPONENT_SOCKET_FOLDER",
}

// socket is a Unix socket that appears under its name only when publish says so.
//
// daprd probes every socket it finds in the folder, and one that does not answer stops
// it. So we listen in a folder beside (daprd skips folders) and rename the socket into
// place when everything behind it is ready. A lock on a file in there keeps a second
// process of the same name out, from before it looks until we are gone.
type socket struct {
	net.Listener
	path        string      // where it appears
	pendingPath string      // where it is until then
	lockFile    *os.File    // locked while the socket is ours
	published   os.FileInfo // what we published, or nil
}

// listen prepares the socket <folder>/<name>.sock. The folder is created if only its last
// element is missing.
func listen(folder, name string, mode os.FileMode) (*socket, error) {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return nil, fmt.Errorf("socket name %q: must be a file name", name)
	}
	path := filepath.Join(folder, name+".sock")
	beside := filepath.Join(folder, "."+name)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("socket path %s is %d bytes long, the most is %d", path, len(path), maxSocketPath)
	}
	for _, dir := range []string{folder, beside} {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("sockets folder: %w", err)
		}
	}
	s := &socket{path: path, pendingPath: filepath.Join(beside, "s")}
	if err := s.lockName(filepath.Join(beside, "lock")); err != nil {
		return nil, err
	}
	if err := s.listen(mode); err != nil {
		return nil, errors.Join(err, s.lockFile.Close())
	}
	return s, nil
}

// claim makes the socket's name ours, or tells that another process has it.
func (s *socket) lockName(lockFile string) error {
	f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o666)
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

// open listens at the hidden place, after making sure that nobody foreign listens at the
// final one.
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
	l.SetUnlinkOnClose(false) // its path changes; close removes it
	if err := os.Chmod(s.pendingPath, mode); err != nil {
		return errors.Join(fmt.Errorf("socket mode: %w", err), l.Close())
	}
	s.Listener = l
	return nil
}

// removeDead removes a socket file on which nobody listens, what a killed process leaves
// behind.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("socket: %w", err)
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("socket %s: a file that is no socket is in its place", path)
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
		return fmt.Errorf("socket of a process that is gone: %w", err)
	}
	return nil
}

// publish lets the socket appear.
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

// unlink takes the socket away, unless somebody has put another file in its place. Its
// name stays ours. A second call does nothing.
func (s *socket) unlink() error {
	path := s.pendingPath
	if s.published != nil {
		path = s.path
	}
	info, err := os.Lstat(path)
	if err != nil || s.published != nil && !os.SameFile(info, s.published) {
		return nil
	}
	s.published = nil // what may come to be there is not ours
	return os.Remove(path)
}

// remove takes the socket away, if it is there, and gives its name free. The folder
// beside stays: removing the lock file would let two processes lock two files of its
// name.
func (s *socket) remove() error { return errors.Join(s.unlink(), s.lockFile.Close()) }
