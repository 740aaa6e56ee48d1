package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sysProcAttr makes a command the leader of a process group. The end of the starting
// thread kills the command, even if the guard was killed before.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// hasRunning reports whether a process of the group is not a zombie. It returns true if
// /proc shows no process of the group.
func (g group) hasRunning() bool {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	seen := false
	for _, file := range files {
		text, _ := os.ReadFile(file) // the process may have ended
		state, of := parseStat(text)
		if of != g {
			continue
		}
		if state != "Z" && state != "X" {
			return true
		}
		seen = true
	}
	return !seen
}

// parseStat returns the state and the group of a process from /proc/<pid>/stat. The
// program's name, in parentheses, may contain any characters.
func parseStat(text []byte) (state string, g group) {
	var parent int
	rest := text[bytes.LastIndexByte(text, ')')+1:]
	_, _ = fmt.Sscan(string(rest), &state, &parent, &g)
	return state, g
}

// reapsOrphans reports whether processes whose parent has ended become children of this
// process.
func reapsOrphans() bool {
	var subreaper int32
	if err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&subreaper)), 0, 0, 0); err != nil {
		subreaper = 0
	}
	return os.Getpid() == 1 || subreaper != 0
}
