package cli

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/mortise-lock/mortise/cli/internal/guard"
)

// notForwarded are the signals that are not forwarded to the command. All others of the
// platform are.
var notForwarded = []syscall.Signal{
	syscall.SIGKILL, syscall.SIGSTOP, // cannot be caught
	syscall.SIGCHLD,                 // reports the command's end
	syscall.SIGURG, syscall.SIGPROF, // are used by Go's scheduler and profiler
	syscall.SIGPIPE,                  // also reports a broken connection to Mortise
	syscall.SIGTSTP, syscall.SIGTTIN, // would suspend a command that holds a lock
	syscall.SIGTTOU,
	32, 33, 34, // are used by C libraries' threads; Go does not catch them
}

// ignoredByDefault are the signals without an effect on a process that does not catch
// them.
var ignoredByDefault = append([]syscall.Signal{
	syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGWINCH,
}, alsoIgnoredByDefault...)

func isIgnoredByDefault(s syscall.Signal) bool { return slices.Contains(ignoredByDefault, s) }

// forwarded returns the signals that are forwarded to the command.
func forwarded() []syscall.Signal {
	var signals []syscall.Signal
	for s := syscall.Signal(1); s <= lastSignal; s++ {
		if !slices.Contains(notForwarded, s) {
			signals = append(signals, s)
		}
	}
	return signals
}

// catchSignals sends the forwarded signals to a channel until stop is called. It catches
// and drops SIGPIPE, because a failed write to standard error would end this process.
//
// SIGHUP and SIGINT stay ignored, for this process and for the command, if they were
// ignored at the start, as by nohup and a shell's "&". So does SIGQUIT if SIGINT was
// ignored: shells ignore both, but Go does not report it.
func catchSignals() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 2*int(lastSignal))
	background := guard.InBackground()
	if background {
		signal.Ignore(syscall.SIGQUIT)
	}
	for _, s := range forwarded() {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	dropped := make(chan os.Signal, 1)
	signal.Notify(dropped, syscall.SIGPIPE)
	return signals, func() {
		signal.Stop(signals)
		signal.Stop(dropped)
		if background {
			signal.Reset(syscall.SIGQUIT)
		}
	}
}
