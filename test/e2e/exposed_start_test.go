// Mortise is not exposed by mistake.
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
		everywhere = "0.0.0.0:0"
		starts     = ""
		plainly    = "can be reached from other machines, without TLS: --allow-insecure-tcp allows that"
		byAnybody  = "can be reached from other machines, with neither a token nor client certificates: --allow-insecure-tcp allows that"
	)
	on := []string{"--allow-insecure-tcp"}
	for _, row := range []struct {
		name      string
		address   string
		security  security
		variables []string
		args      []string
		says      string // why it does not start
	}{
		{"this machine, with nothing", "127.0.0.1:0", withoutTLS, nil, nil, starts},
		{"this machine by its name, with nothing", "localhost:0", withoutTLS, nil, nil, starts},
		{"everywhere, with nothing", everywhere, withoutTLS, nil, nil, plainly},
		{"everywhere in other words, with nothing", ":0", withoutTLS, nil, nil, plainly},
		{"everywhere by IPv6, with nothing", "[::]:0", withoutTLS, nil, nil, plainly},
		{"everywhere, with tokens", everywhere, withoutTLS, tokens, nil, plainly},
		{"a name that begins like this machine's, with tokens", "localhost.example:0", withoutTLS, tokens, nil, plainly},
		{"everywhere, with TLS", everywhere, withTLS, nil, nil, byAnybody},
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
				if row.says == starts {
					p.expectStart(e)
				} else {
					p.expectRefusal(e, row.says)
				}
			}
		})
	}
}

// startsAndEnds expects Mortise to serve the endpoint until it is asked to end.
func (p *process) expectStart(e endpointSpec) {
	p.t.Helper()
	p.awaitLine("Listening on", e.flag)
	p.awaitLine("Ready on")
	if code := p.terminate(); code != 0 {
		p.t.Errorf("%s: it ends with %d", e.flag, code)
	}
}

// refuses expects Mortise not to start, and to say why.
func (p *process) expectRefusal(e endpointSpec, why string) {
	p.t.Helper()
	if code := p.exitCode(); code != 1 || p.line(why) == "" {
		p.t.Errorf("%s: it ends with %d and says %s", e.flag, code, p.output.String())
	}
	if said := p.line(why); said != p.line(why, e.flag) && said != p.line(why, "$") {
		p.t.Errorf("%s: it does not say which flag or variable: %s", e.flag, said)
	}
	if p.line("Ready on") != "" {
		p.t.Errorf("%s: it served", e.flag)
	}
}

// A machine on which localhost is everywhere is made of another /etc/hosts, which only
// this one process sees.
func TestExposure_LocalhostNotLoopback(t *testing.T) {
	t.Parallel()
	unshare, err := exec.LookPath("unshare")
	if err == nil {
		err = exec.Command(unshare, "--mount", "true").Run()
	}
	if err != nil {
		t.Skipf("no process here can have a /etc/hosts of its own: %v", err)
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
