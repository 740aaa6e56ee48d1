package cli

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is our terminal, which is lent to the process group of a command. It is for
// one goroutine, which ignores SIGTTOU: that we would get for taking it back. A nil
// terminal cannot be lent.
type terminal struct {
	fd                int
	child             group
	childInForeground bool
}

// newTerminal returns the terminal that in is, or nil if it is none that we could lend.
func newTerminal(in io.Reader, borrower group) *terminal {
	file, ok := in.(*os.File)
	if !ok {
		return nil
	}
	t := &terminal{fd: int(file.Fd()), child: borrower}
	if _, err := t.foregroundGroup(); err != nil {
		return nil
	}
	return t
}

// foregroundGroup returns the process group that has the terminal.
func (t *terminal) foregroundGroup() (group, error) {
	g, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return group(g), err
}

func (t *terminal) setForegroundGroup(to group) error {
	return unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, int(to))
}

// moveToForeground gives the terminal to the group if it is ours, which it is not while a shell has
// us in the background. Once the group has got it, lend lets the group go on, as the
// kernel stops those who read without having it. It tells whether the group has got it.
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

// restoreForeground makes the terminal ours again; else the shell takes it.
func (t *terminal) restoreForeground() {
	if t != nil && t.childInForeground {
		_ = t.setForegroundGroup(group(syscall.Getpgrp()))
	}
}
