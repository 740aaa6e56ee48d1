package cli

import "syscall"

// lastSignal is the highest signal number. Those from 35 are real-time signals.
const lastSignal syscall.Signal = 64

// alsoIgnoredByDefault are signals that other systems have as well, but with an effect.
var alsoIgnoredByDefault []syscall.Signal
