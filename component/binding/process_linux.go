package binding

import (
	"net"
	"syscall"
)

// processOf is the process at the other end of a Unix socket. It is 0 if that is not
// known: of other connections, and of processes in another container.
func peerProcess(c net.Conn) (process int) {
	unix, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // of a connection that has ended already; then it is 0
		if peer, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			process = int(peer.Pid)
		}
	})
	return process
}

// runs tells whether there is such a process.
func processExists(process int) bool { return syscall.Kill(process, 0) != syscall.ESRCH }
