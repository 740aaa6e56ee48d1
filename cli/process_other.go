//go:build !linux

package cli

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// sysProcAttr makes a command the leader of a process group.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// hasRunning reports whether a process of the group is not a zombie.
func (g group) hasRunning() bool {
	const zombie = 5 // SZOMB in sys/proc.h
	processes, err := unix.SysctlKinfoProcSlice("kern.proc.pgrp", int(g))
	if err != nil {
		return true
	}
	for _, p := range processes {
		if p.Proc.P_stat != zombie {
			return true
		}
	}
	return false
}

// reapsOrphans reports whether processes whose parent has ended become children of this
// process. They become children of launchd.
func reapsOrphans() bool { return false }
