package cli

import (
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// lendTerminal lets a process group read from the terminal that in is, if that is ours to lend, and returns what takes it
// back. The kernel stops a group that reads from a terminal without having it.
func lendTerminal(in io.Reader, g group) (takeBack func()) {
	tty, ok := in.(*os.File)
	if !ok {
		return func() {}
	}
	fd, ours := int(tty.Fd()), syscall.Getpgrp()
	if has, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err != nil || has != ours {
		return func() {}
	}
	signal.Ignore(syscall.SIGTTOU) // which we would get for taking it back
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, int(g)); err != nil {
		signal.Reset(syscall.SIGTTOU)
		return func() {}
	}
	g.signal(syscall.SIGCONT) // it may have read already
	return func() {
		_ = unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, ours) // else the shell takes it
		signal.Reset(syscall.SIGTTOU)
	}
}
