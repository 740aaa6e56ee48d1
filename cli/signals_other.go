//go:build !linux

package cli

import "syscall"

// lastSignal is the highest signal number.
const lastSignal syscall.Signal = 31

// alsoIgnoredByDefault are signals that Linux lacks, or that have an effect there.
var alsoIgnoredByDefault = []syscall.Signal{syscall.SIGINFO, syscall.SIGIO}
