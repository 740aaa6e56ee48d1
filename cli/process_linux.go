package cli

import "syscall"

// attributes make a command the leader of a process group, which is killed when we are.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
