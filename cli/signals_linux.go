package cli

import "syscall"

// lastSignal is the highest signal number. Signals from 35 are real-time signals.
const lastSignal syscall.Signal = 64

// alsoIgnoredByDefault are signals that have no effect by default on this system only.
var alsoIgnoredByDefault []syscall.Signal
