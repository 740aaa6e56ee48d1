package cli

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is this process's controlling terminal, whose foreground can be given to the
// process group of the command. It is for one goroutine, which must ignore SIGTTOU,
// because restoring the foreground sends it. A nil terminal has no foreground.
type terminal struct {
	fd                int
	child             group
	childInForeground bool
}

// newTerminal returns the terminal of in, or nil if in is not the controlling terminal.
func newTerminal(in io.Reader, child group) *terminal {
	file, ok := in.(*os.File)
	if !ok {
		return nil
	}
	t := &terminal{fd: int(file.Fd()), child: child}
	if _, err := t.foregroundGroup(); err != nil {
		return nil
	}
	return t
}

// foregroundGroup returns the terminal's foreground process group.
func (t *terminal) foregroundGroup() (group, error) {
	g, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return group(g), err
}

func (t *terminal) setForegroundGroup(to group) error {
	return unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, int(to))
}

// moveToForeground moves the child's group to the foreground, unless this process is in
// the background of a shell. It continues a group in the foreground, because the kernel
// stops background processes that read from the terminal. It reports whether the group is
// in the foreground.
func (t *terminal) moveToForeground() bool {
	if t == nil {
		return false
	}
	if owner, err := t.foregroundGroup(); err == nil && owner == group(syscall.Getpgrp()) && t.setForegroundGroup(t.child) == nil {
		t.childInForeground = true
	}
	if t.childInForeground {
		t.child.signal(syscall.SIGCONT)
	}
	return t.childInForeground
}

// restoreForeground moves this process back to the foreground.
func (t *terminal) restoreForeground() {
	if t != nil && t.childInForeground {
		_ = t.setForegroundGroup(group(syscall.Getpgrp()))
	}
}
