package component

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListen_Errors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	occupied := filepath.Join(dir, "occupied")
	if err := os.MkdirAll(filepath.Join(occupied, "mortise.sock"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, folder, socket, want string }{
		{"the parent of the folder is missing", filepath.Join(dir, "a", "b"), "mortise", "no such file"},
		{"the folder is a file", file, "mortise", "not a directory"},
		{"the path is too long", filepath.Join(dir, strings.Repeat("x", 100)), "mortise", "at most 107 bytes"},
		{"another file has the socket's path", occupied, "mortise", "is not a socket"},
		{"the name is a path", dir, "../mortise", "must be a file name"},
		{"the name is empty", dir, "", "must be a file name"},
		{"the name is hidden", dir, ".mortise", "must be a file name"},
		{"the folder is not writable", "/proc/self", "mortise", "sockets folder"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := listen(row.folder, row.socket, 0o660)
			if err == nil {
				t.Fatalf("listens on %s", s.path)
			}
			if !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %q, want %q", err, row.want)
			}
		})
	}
}

// publishedSocket returns a published socket, which is closed at the end of the test.
func publishedSocket(t *testing.T, folder string) *socket {
	t.Helper()
	s, err := listen(folder, "mortise", 0o606)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.publish(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSocket_Publish(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "made")
	s, err := listen(folder, "mortise", 0o606)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path := filepath.Join(folder, "mortise.sock")
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Fatalf("before publish: %v", err)
	}
	if err := s.publish(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o606 {
		t.Errorf("after publish: %v, %v", info.Mode(), err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if err := s.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after remove: %v", err)
	}
}

func TestListen_SocketInUse(t *testing.T) {
	t.Run("of another Mortise process", func(t *testing.T) {
		folder := t.TempDir()
		first := publishedSocket(t, folder)
		if _, err := listen(folder, "mortise", 0o660); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("a second listen: %v", err)
		}
		if err := first.remove(); err != nil {
			t.Fatal(err)
		}
		publishedSocket(t, folder)
	})
	t.Run("of a Mortise process that is not ready yet", func(t *testing.T) {
		folder := t.TempDir()
		first, err := listen(folder, "mortise", 0o660)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		if _, err := listen(folder, "mortise", 0o660); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("a second listen: %v", err)
		}
	})
	t.Run("of another program", func(t *testing.T) {
		folder := t.TempDir()
		l, err := net.Listen("unix", filepath.Join(folder, "mortise.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if _, err := listen(folder, "mortise", 0o660); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("got %v", err)
		}
	})
}

func TestListen_StaleSocket(t *testing.T) {
	folder := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(folder, "mortise.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close() // which leaves the file, as kill -9 does
	s := publishedSocket(t, folder)
	conn, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

// checkRemoveKeepsOther replaces the socket file by that of another process and checks
// that remove keeps it.
func checkRemoveKeepsOther(t *testing.T, s *socket) {
	t.Helper()
	other, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := s.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(s.path); err != nil {
		t.Errorf("the other socket: %v", err)
	}
}

func TestSocket_RemoveKeepsOtherFiles(t *testing.T) {
	s := publishedSocket(t, t.TempDir())
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	checkRemoveKeepsOther(t, s)
}

func TestSocket_UnlinkKeepsName(t *testing.T) {
	folder := t.TempDir()
	s := publishedSocket(t, folder)
	if err := s.unlink(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(s.path); !os.IsNotExist(err) {
		t.Errorf("after unlink: %v", err)
	}
	if _, err := listen(folder, "mortise", 0o660); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second listen: %v", err)
	}
	checkRemoveKeepsOther(t, s)
}
