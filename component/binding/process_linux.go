package binding

import (
	"net"
	"syscall"
)

// peerProcess returns the process at the other end of a Unix socket. It returns 0 if the
// process is unknown, as for other connections and for processes in another container.
func peerProcess(c net.Conn) (process int) {
	unix, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // fails if the connection has ended
		if peer, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			process = int(peer.Pid)
		}
	})
	return process
}

// processExists reports whether the process exists.
func processExists(process int) bool { return syscall.Kill(process, 0) != syscall.ESRCH }
