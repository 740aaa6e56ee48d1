package guard

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// selfCommand returns a command that runs this program's executable under another name.
// The link refers to the running file even if the file has been replaced.
func selfCommand(name string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = name
	return cmd, nil
}

// stopSelf stops the process. The signal is sent to this thread, so it takes effect
// before the call returns.
func stopSelf() error { return unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP) }

// resetSignals makes later signals act as they will on the command. Go's own handlers,
// which os/signal cannot remove, would drop most of them. It skips 32 to 34, as Go does.
func resetSignals() {
	for s := syscall.Signal(1); s <= 64; s++ {
		switch {
		case s >= 32 && s <= 34:
		case signal.Ignored(s), s == syscall.SIGQUIT && InBackground():
			setAction(s, ignoreAction)
		default:
			setAction(s, defaultAction)
		}
	}
}

// Actions on a signal, SIG_DFL and SIG_IGN in C.
const (
	defaultAction uintptr = iota
	ignoreAction
)

// setAction sets the action on a signal. It has no effect on SIGKILL and SIGSTOP.
func setAction(s syscall.Signal, action uintptr) {
	sigaction := [8]uintptr{action} // flags and mask, in either order, are 0
	const maskSize = 8
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&sigaction)), 0, maskSize, 0, 0)
}
