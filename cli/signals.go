package cli

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/mortise-lock/mortise/cli/internal/guard"
)

// notForwarded are the signals that do not reach the command when this process gets them.
// All others that exist on the platform do.
var notForwarded = []syscall.Signal{
	syscall.SIGKILL, syscall.SIGSTOP, // cannot be caught
	syscall.SIGCHLD,                 // reports the command itself
	syscall.SIGURG, syscall.SIGPROF, // are used by Go's scheduler and profiler
	syscall.SIGPIPE,                  // also reports that this process's own connection to Mortise is broken
	syscall.SIGTSTP, syscall.SIGTTIN, // would suspend a command that holds a lock; the terminal sends them
	syscall.SIGTTOU,
	32, 33, 34, // are used by C libraries' threads; Go does not catch them
}

// ignoredByDefault are the signals that do nothing to a process that does not ask for
// them.
var ignoredByDefault = append([]syscall.Signal{
	syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGWINCH,
}, alsoIgnoredByDefault...)

func isIgnoredByDefault(s syscall.Signal) bool { return slices.Contains(ignoredByDefault, s) }

// forwarded returns the signals that the command gets when this process gets them.
func forwarded() []syscall.Signal {
	var signals []syscall.Signal
	for s := syscall.Signal(1); s <= lastSignal; s++ {
		if !slices.Contains(notForwarded, s) {
			signals = append(signals, s)
		}
	}
	return signals
}

// catchSignals sends the signals that are meant for the command to a channel until stop
// is called. SIGPIPE is caught and dropped, because it would end this process if it came
// from a write to standard error.
//
// Signals that were ignored when this process began, as nohup and a shell's "&" want it,
// stay ignored, for it and for the command, as far as Go reports them: SIGHUP and SIGINT,
// and with SIGINT also SIGQUIT, because shells ignore both.
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
