// Package guard makes a command's process group end with the process that runs the
// command, however that process ends.
//
// A program that imports this package also runs its executable as a guard and as a gate.
// A guard is a process in a separate session that reads from a pipe, and kills the group
// when the pipe breaks. A gate is a process that stops itself, and executes the command
// when it is continued, so that the guard knows the group before the first instruction of
// the command.
package guard

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// The names of the guard and the gate, argv[0] of their processes. They do not contain
// the program's name, so that "pkill -f" with that name does not kill the guard.
const (
	guardName = "lock-guard"
	gateName  = "lock-gate"
)

// init runs the guard or the gate if the process was started as one. It runs before main,
// and so before most of the program is initialized, because a guard lasts as long as its
// command and must be cheap. A gate must run on the main thread, as init does: on Linux,
// PR_SET_PDEATHSIG remains in effect only if it was set on that thread.
func init() {
	switch os.Args[0] {
	case guardName:
		ignoreSignals()
		run(os.NewFile(pipeFD, "guard"))
		os.Exit(0)
	case gateName:
		os.Exit(runGate(os.Args[1:]))
	}
}

// pipeFD is the file descriptor of a guard's pipe.
const pipeFD = 3

// Guard is a running guard. It is for one goroutine.
type Guard struct {
	process *exec.Cmd
	pipe    *os.File
	ended   chan struct{}
}

// Start starts a guard without a group. The caller must call Stop.
func Start() (*Guard, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	defer in.Close()
	cmd, err := selfCommand(guardName)
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	cmd.Env = []string{"GOMAXPROCS=1"} // and no secrets from the environment
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{in}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the guard: %w", err), out.Close())
	}
	g := &Guard{process: cmd, pipe: out, ended: make(chan struct{})}
	go func() {
		defer close(g.ended)
		_ = cmd.Wait()
	}()
	return g, nil
}

// Watch makes the guard kill the process group if this process ends without Stop.
func (g *Guard) Watch(group int) error {
	_, err := fmt.Fprintln(g.pipe, "group", group)
	return err
}

// Limit makes the guard kill the group after d even if this process exists, because it
// may be suspended. Each call replaces the previous limit.
func (g *Guard) Limit(d time.Duration) error {
	_, err := fmt.Fprintln(g.pipe, "limit", d)
	return err
}

// Ended returns a channel that is closed when the guard has ended, by Stop or because it
// was killed.
func (g *Guard) Ended() <-chan struct{} { return g.ended }

// Stop ends the guard without killing the group.
func (g *Guard) Stop() {
	_ = g.process.Process.Kill() // before the pipe breaks
	<-g.ended
	_ = g.pipe.Close()
}

// run runs the guard until the pipe breaks.
func run(pipe io.Reader) {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(pipe); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	group, limit := 0, time.Duration(0)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for {
		select {
		case line, open := <-lines:
			if !open {
				killGroup(group)
				return
			}
			if group, limit = parseLine(line, group, limit); limit > 0 {
				timer.Reset(limit)
			}
		case <-timer.C:
			killGroup(group)
			group = 0 // its id may be reused
		}
	}
}

// parseLine returns the group and the limit after a line that Watch or Limit sent.
func parseLine(line string, group int, limit time.Duration) (int, time.Duration) {
	var text string
	if _, err := fmt.Sscanf(line, "limit %s", &text); err == nil {
		limit, _ = time.ParseDuration(text)
		return group, max(limit, 1)
	}
	_, _ = fmt.Sscanf(line, "group %d", &group)
	return group, limit
}

// killGroup kills a group. It ignores 0 and 1, which mean the guard's own group and every
// process.
func killGroup(group int) {
	if group > 1 {
		_ = syscall.Kill(-group, syscall.SIGKILL)
	}
}

// ignoreSignals ignores all signals except SIGKILL and SIGSTOP, which it cannot, and
// SIGURG, which Go's scheduler uses.
func ignoreSignals() {
	for s := syscall.Signal(1); s <= 64; s++ {
		if s != syscall.SIGURG {
			signal.Ignore(s)
		}
	}
}
