// The flags that a start with TCP endpoints requires.
package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/mortise-lock/mortise/test/servers"
)

func TestExposure_Flags(t *testing.T) {
	t.Parallel()
	certificate := servers.NewCertificate(t)
	withoutTLS, withTLS, withClientCA := securities(certificate)
	const (
		everywhere       = "0.0.0.0:0"
		starts           = ""
		withoutTLSError  = "can be reached from other machines, without TLS: --allow-insecure-tcp allows that"
		withoutAuthError = "can be reached from other machines, with neither a token nor client certificates: --allow-insecure-tcp allows that"
	)
	on := []string{"--allow-insecure-tcp"}
	for _, row := range []struct {
		name      string
		address   string
		security  security
		variables []string
		args      []string
		want      string // the error; empty if it starts
	}{
		{"this machine, with nothing", "127.0.0.1:0", withoutTLS, nil, nil, starts},
		{"this machine by its name, with nothing", "localhost:0", withoutTLS, nil, nil, starts},
		{"everywhere, with nothing", everywhere, withoutTLS, nil, nil, withoutTLSError},
		{"everywhere by an empty host, with nothing", ":0", withoutTLS, nil, nil, withoutTLSError},
		{"everywhere by IPv6, with nothing", "[::]:0", withoutTLS, nil, nil, withoutTLSError},
		{"everywhere, with tokens", everywhere, withoutTLS, tokens, nil, withoutTLSError},
		{"a name that begins like this machine's, with tokens", "localhost.example:0", withoutTLS, tokens, nil, withoutTLSError},
		{"everywhere, with TLS", everywhere, withTLS, nil, nil, withoutAuthError},
		{"everywhere, with TLS and a token of spaces", everywhere, withTLS, []string{"MORTISE_API_TOKEN= ", "DAPR_API_TOKEN= "}, nil,
			"_API_TOKEN must not be empty"},
		{"everywhere, with TLS and tokens", everywhere, withTLS, tokens, nil, starts},
		{"everywhere, with a client CA", everywhere, withClientCA, nil, nil, starts},
		{"everywhere, with nothing, allowed", everywhere, withoutTLS, nil, on, starts},
		{"everywhere, with TLS, allowed", everywhere, withTLS, nil, on, starts},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for _, e := range endpointSpecs {
				args := append(append([]string{e.flag, row.address}, row.security.args...), row.args...)
				p := start(t, "mortise", mortiseProgram.path, append(inFolder(socketsFolder(t)), row.variables...), args...)
				if row.want == starts {
					p.expectStart(e)
				} else {
					p.expectRefusal(e, row.want)
				}
			}
		})
	}
}

// expectStart fails the test unless Mortise serves the endpoint until it is terminated.
func (p *process) expectStart(e endpointSpec) {
	p.t.Helper()
	p.awaitLine("Listening on", e.flag)
	p.awaitLine("Ready on")
	if code := p.terminate(); code != 0 {
		p.t.Errorf("%s: got exit code %d, want 0", e.flag, code)
	}
}

// expectRefusal fails the test unless Mortise refuses to start and prints the reason.
func (p *process) expectRefusal(e endpointSpec, reason string) {
	p.t.Helper()
	if code := p.exitCode(); code != 1 || p.line(reason) == "" {
		p.t.Errorf("%s: got exit code %d and the output %s", e.flag, code, p.output.String())
	}
	if line := p.line(reason); line != p.line(reason, e.flag) && line != p.line(reason, "$") {
		p.t.Errorf("%s: the output must name the flag or variable: %s", e.flag, line)
	}
	if p.line("Ready on") != "" {
		p.t.Errorf("%s: got ready", e.flag)
	}
}

// The test replaces /etc/hosts for its process only, so that localhost is not a loopback
// address.
func TestExposure_LocalhostNotLoopback(t *testing.T) {
	t.Parallel()
	unshare, err := exec.LookPath("unshare")
	if err == nil {
		err = exec.Command(unshare, "--mount", "true").Run()
	}
	if err != nil {
		t.Skipf("cannot replace /etc/hosts for one process: %v", err)
	}
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("0.0.0.0 localhost\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const script = `mount --bind "$0" /etc/hosts && exec "$@"`
	for _, e := range endpointSpecs {
		for _, allowed := range []bool{false, true} {
			args := []string{"--mount", "sh", "-c", script, hosts, mortiseProgram.path, e.flag, "localhost:0"}
			if allowed {
				args = append(args, "--allow-insecure-tcp")
			}
			p := start(t, "mortise", unshare, inFolder(socketsFolder(t)), args...)
			if allowed {
				p.expectStart(e)
			} else {
				p.expectRefusal(e, "localhost:0 can be reached from other machines, because it resolves to ")
			}
		}
	}
}
