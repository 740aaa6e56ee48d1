package main

// Processes: started, waited for, looked into, stopped.

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 5 * time.Second
	pollInterval = 100 * time.Microsecond
)

// process is a server that this program has started.
type process struct {
	cmd    *exec.Cmd
	log    string
	ended  chan struct{}
	addr   string           // where it serves: a socket's path, or host:port
	folder string           // of its own
	conn   *grpc.ClientConn // to addr, if it speaks gRPC: one connection, as daprd has
	begin  time.Time        // when it was started
	ready  time.Duration    // after which it answered
}

// spawn starts a process whose output goes to a file in the folder, unless its standard
// output goes elsewhere.
func spawn(folder string, cmd *exec.Cmd) (*process, error) {
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it does not outlive us, whatever happens
	p := &process{cmd: cmd, log: log.Name(), folder: folder, ended: make(chan struct{})}
	p.begin = time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // whoever waits for an answer tells of an early end
		close(p.ended)
	}()
	return p, nil
}

// await calls ready until it returns nil. If that does not happen in time, it stops the
// process and tells what it wrote.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			p.ready = time.Since(p.begin)
			return nil
		}
		select {
		case <-p.ended:
			return p.giveUp("ended", err)
		case <-ctx.Done():
			return p.giveUp("does not answer", err)
		case <-time.After(pollInterval):
		}
	}
}

func (p *process) giveUp(how string, cause error) error {
	p.stop()
	text, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s %s: %w\n%s", filepath.Base(p.cmd.Path), how, cause, text)
}

// stop ends the process, kindly at first, and waits until it is gone.
func (p *process) stop() {
	if p.conn != nil {
		_ = p.conn.Close()
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// dial makes the one connection to addr. It is not waited for.
func (p *process) dial(target string) (err error) {
	p.conn, err = grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return err
}

// healthy tells whether the socket is there and the health service behind it answers.
// gRPC gets to see a socket only when it takes connections, because after a refusal it
// would pause.
func (p *process) healthy(ctx context.Context) error {
	probe, err := net.Dial("unix", p.addr)
	if err != nil {
		return err
	}
	defer probe.Close()
	_, err = healthpb.NewHealthClient(p.conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

// rss is the process's resident memory in bytes.
func (p *process) rss() (float64, error) {
	file := fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kilobytes, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseFloat(kilobytes, 64)
	return n * 1024, err
}

// cpu is the time that the process has spent on a CPU. The kernel counts in hundredths of
// a second.
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the second field is a name, which may have spaces
	fields := strings.Fields(rest)
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / 100, err
}

// ownCPU is cpu for this process.
func ownCPU() time.Duration {
	var use syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &use) // fails for no reason that can occur
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// freePort is a port of the loopback interface that was free a moment ago.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port, l.Close()
}
