//go:build !linux

package cli

import "syscall"

// attributes make a command the leader of a process group.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
