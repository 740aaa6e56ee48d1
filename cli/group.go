package cli

import (
	"syscall"
	"time"
)

// groupPoll is how often a process group that was asked to stop is checked for processes
// that are left.
const groupPoll = 50 * time.Millisecond

// group is a process group, by its leader's id.
type group int

func (g group) signal(s syscall.Signal) { _ = syscall.Kill(-int(g), s) } // a group that is gone needs none

// alive reports whether a process of the group still runs. Zombies, which have ended but
// which their parent has not asked about, do not count: a parent that never asks would
// make them last for the whole grace.
func (g group) alive() bool {
	return syscall.Kill(-int(g), 0) == nil && g.hasRunning()
}

// stop ends the group, its leader included. ended is closed when the leader has ended.
func (g group) stop(ended <-chan struct{}, grace time.Duration) {
	g.signal(syscall.SIGTERM)
	g.signal(syscall.SIGCONT) // what was stopped has to run to end in order
	over := time.NewTimer(grace)
	defer over.Stop()
	poll := time.NewTicker(groupPoll)
	defer poll.Stop()
	for {
		select {
		case <-ended:
			if !g.alive() {
				return
			}
			ended = nil
		case <-poll.C:
			if !g.alive() {
				return
			}
		case <-over.C:
			g.signal(syscall.SIGKILL)
			return
		}
	}
}
