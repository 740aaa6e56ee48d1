package main

// Processes: how they are started, measured and stopped.

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
	addr   string           // the path of its socket, or host:port
	folder string           // its folder
	conn   *grpc.ClientConn // one connection to addr, as daprd has; nil without gRPC
	begin  time.Time        // when it was started
	ready  time.Duration    // from begin to its first response
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
	// Ends with this process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, log: log.Name(), folder: folder, ended: make(chan struct{})}
	p.begin = time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // await reports an early end
		close(p.ended)
	}()
	return p, nil
}

// await calls ready until it returns nil. After a timeout it stops the process, and
// returns an error with its output.
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
			return p.fail("ended", err)
		case <-ctx.Done():
			return p.fail("did not respond", err)
		case <-time.After(pollInterval):
		}
	}
}

func (p *process) fail(how string, cause error) error {
	p.stop()
	text, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s %s: %w\n%s", filepath.Base(p.cmd.Path), how, cause, text)
}

// stop terminates the process, or kills it after a timeout, and waits until it has ended.
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

// dial creates the connection to the target, without waiting for it.
func (p *process) dial(target string) (err error) {
	p.conn, err = grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return err
}

// healthy returns an error unless the health service responds at the socket. It first
// connects without gRPC, because gRPC would pause after a refused connection.
func (p *process) healthy(ctx context.Context) error {
	probe, err := net.Dial("unix", p.addr)
	if err != nil {
		return err
	}
	defer probe.Close()
	_, err = healthpb.NewHealthClient(p.conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

// rss returns the process's resident memory in bytes.
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

// cpu returns the CPU time of the process, with the kernel's resolution of 10 ms.
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The second field, a name, may have spaces.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / 100, err
}

// ownCPU returns the CPU time of this process.
func ownCPU() time.Duration {
	var use syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &use) // cannot fail with these arguments
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// freePort returns a port of the loopback interface that was free when it was checked.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port, l.Close()
}
