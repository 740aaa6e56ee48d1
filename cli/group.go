package cli

import (
	"syscall"
	"time"
)

// groupPoll is how often a group that is being stopped is checked for running processes.
const groupPoll = 50 * time.Millisecond

// group is the id of a process group.
type group int

// signal sends a signal to the group, unless the group has ended.
func (g group) signal(s syscall.Signal) { _ = syscall.Kill(-int(g), s) }

// alive reports whether a process of the group runs. Zombies do not count: if their
// parent does not wait for them, they would last for the whole grace period.
func (g group) alive() bool {
	return syscall.Kill(-int(g), 0) == nil && g.hasRunning()
}

// stop ends all processes of the group. ended is closed when the leader has ended.
func (g group) stop(ended <-chan struct{}, grace time.Duration) {
	g.signal(syscall.SIGTERM)
	g.signal(syscall.SIGCONT) // a stopped process handles SIGTERM only when it continues
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
