package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// catchSignals has the signals that are meant for the command sent to us until stop is called. Those that were ignored when we
// began, as nohup and a shell's "&" want it, stay so, for us and for the command.
func catchSignals() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 8)
	background := signal.Ignored(syscall.SIGINT)
	if background { // Go does not tell whether SIGQUIT was ignored; shells have what is in the background ignore both
		signal.Ignore(syscall.SIGQUIT)
	}
	for _, s := range []os.Signal{
		syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
	} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	return signals, func() {
		signal.Stop(signals)
		if background {
			signal.Reset(syscall.SIGQUIT)
		}
	}
}
