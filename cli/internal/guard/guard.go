// Package guard makes a command's process group end with the process that runs the
// command, however that process ends.
//
// A program that imports this package runs its own executable for two more purposes. A
// guard is a process in a session of its own that waits at the end of a pipe, and kills
// the group when the pipe breaks. A gate is a process that stops itself and becomes the
// command when it is continued, so that the guard knows the group before the first
// instruction of the command.
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

// The names under which the executable is started, as the first word of its command line.
// They have no word in common with the program's own command line, so that "pkill -f" of
// that does not end the guard with it.
const (
	guardName = "lock-guard"
	gateName  = "lock-gate"
)

// init becomes the guard or the gate if the process was started as one. It runs before
// main, and so before the bulk of the program is initialized, because a guard lasts as
// long as its command and should cost little. A gate must run on the main thread, where
// only init is sure to: of the signals that make Linux kill the command when its parent
// dies, only those that were requested on that thread remain.
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

// pipeFD is where a guard finds its pipe.
const pipeFD = 3

// Guard is a running guard. It is for one goroutine.
type Guard struct {
	process *exec.Cmd
	pipe    *os.File
	ended   chan struct{}
}

// Start starts a guard, which has nothing to kill yet. The caller calls Stop.
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
	cmd.Env = []string{"GOMAXPROCS=1"} // it needs neither processors nor what the environment may hold
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

// Watch makes the guard kill the process group when this process ends without Stop.
func (g *Guard) Watch(group int) error {
	_, err := fmt.Fprintln(g.pipe, "group", group)
	return err
}

// Limit makes the guard kill the group after d even if this process still exists, because
// it may be suspended. Each call replaces the limit of the call before.
func (g *Guard) Limit(d time.Duration) error {
	_, err := fmt.Fprintln(g.pipe, "limit", d)
	return err
}

// Ended is closed when the guard has ended, by Stop or because it was killed.
func (g *Guard) Ended() <-chan struct{} { return g.ended }

// Stop ends the guard and leaves the group alone.
func (g *Guard) Stop() {
	_ = g.process.Process.Kill() // before the pipe breaks; it has nothing to clean up
	<-g.ended
	_ = g.pipe.Close()
}

// run does the guard's work until the pipe breaks.
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
			group = 0 // its number may belong to other processes from now on
		}
	}
}

// parseLine returns the group and the limit after a line that Watch or Limit has sent.
func parseLine(line string, group int, limit time.Duration) (int, time.Duration) {
	var text string
	if _, err := fmt.Sscanf(line, "limit %s", &text); err == nil {
		limit, _ = time.ParseDuration(text)
		return group, max(limit, 1)
	}
	_, _ = fmt.Sscanf(line, "group %d", &group)
	return group, limit
}

// killGroup kills a group. The numbers 0 and 1 would stand for the guard's own group and for
// every process.
func killGroup(group int) {
	if group > 1 {
		_ = syscall.Kill(-group, syscall.SIGKILL)
	}
}

// ignoreSignals lets nothing but SIGKILL and SIGSTOP reach the guard, except SIGURG,
// which Go's scheduler uses.
func ignoreSignals() {
	for s := syscall.Signal(1); s <= 64; s++ {
		if s != syscall.SIGURG {
			signal.Ignore(s)
		}
	}
}
