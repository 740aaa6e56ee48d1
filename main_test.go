package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/cli"
	"github.com/mortise-lock/mortise/component"
)

// asProgram, when set, makes the test binary run the program.
const asProgram = "MORTISE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestLocksCommand(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "locks", "lock", "disk")
	cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0")
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(string(out), "between the keys and the command") {
		t.Errorf("exit code %d, %s", code, out)
	}
}

func TestLocksCommand_Defaults(t *testing.T) {
	t.Setenv(component.FolderVariables[0], "/run/sockets")
	t.Setenv(component.TokenVariable, "secret")
	got, want := cliDefaults(os.Getenv), cli.Defaults{
		Target: "unix:///run/sockets/mortise.sock", Token: "secret", TokenVariable: component.TokenVariable,
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestRun_BadFlags(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"unknown flag", []string{"--nope"}, "--nope"},
		{"argument that is not a flag", []string{"serve"}, `"serve"`},
		{"mode that is not octal", []string{"--socket-mode", "rw"}, "--socket-mode"},
		{"mode that is too large", []string{"--socket-mode", "1777"}, "--socket-mode"},
		{"a TLS certificate without a key", []string{"--listen-address", "127.0.0.1:0", "--tls-cert-file", "c"}, "--tls-key-file"},
		{"plain TCP for other machines", []string{"--listen-address", "0.0.0.0:0"}, "--allow-insecure-tcp"},
		{"Dapr's API for other machines", []string{"--dapr-http-listen-address", "0.0.0.0:0"}, "--allow-insecure-tcp"},
		{"metrics for other machines", []string{"--metrics-address", "0.0.0.0:0"}, "--allow-insecure-tcp"},
		{"unknown level", []string{"--log-level", "loud"}, "--log-level"},
		{"unknown store", []string{"--default-store", "paper"}, "--default-store: unknown store \"paper\", must be one of memory, redis"},
		{"resources that do not exist", []string{"--resources-path", "/does/not/exist"}, "/does/not/exist"},
	} {
		t.Run(row.name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "s")
			err := run(t.Context(), append(row.args, "--sockets-folder", folder), func(string) string { return "" })
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestRun_CanceledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	getenv := func(name string) string {
		if name == component.FolderVariables[0] {
			return t.TempDir()
		}
		return ""
	}
	if err := run(ctx, nil, getenv); err != nil {
		t.Error(err)
	}
}

// awaitLine reads lines until one contains the text, and returns the text after it.
func awaitLine(t *testing.T, lines *bufio.Scanner, text string) string {
	t.Helper()
	for lines.Scan() {
		if _, after, found := strings.Cut(lines.Text(), text); found {
			return after
		}
	}
	t.Fatalf("no line with %q: %v", text, lines.Err())
	return ""
}

func TestMain_SecondSignal(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "dev", "--sockets-folder", t.TempDir(), "--http-listen-address", "", "--dapr-grpc-listen-address", "",
		"--dapr-http-listen-address", "127.0.0.1:0", "--drain-timeout", "1h")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(output)
	addr, _, _ := strings.Cut(awaitLine(t, lines, "Listening on "), " ")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const request = "POST /v1.0-alpha1/lock/lockstore HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	awaitLine(t, bufio.NewScanner(conn), "100 Continue") // a call in progress
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	awaitLine(t, lines, "Shutting down")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	timeout, again := time.After(15*time.Second), time.Tick(50*time.Millisecond)
	for { // until a signal is not caught
		select {
		case <-timeout:
			t.Fatal("the process does not end")
		case <-ended:
			if how := cmd.ProcessState.Sys().(syscall.WaitStatus); how.Signal() != syscall.SIGTERM {
				t.Errorf("the process ended with %v", cmd.ProcessState)
			}
			return
		case <-again:
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
	}
}
