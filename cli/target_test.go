package cli

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mortise-lock/mortise/test/inprocess"
	"github.com/mortise-lock/mortise/test/servers"
)

// freeAddress returns an address of this machine that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func writeFile(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTarget_TLSAndToken(t *testing.T) {
	address := freeAddress(t)
	cert, other := servers.NewCertificate(t), servers.NewCertificate(t)
	s := startServer(t, func(c *inprocess.Config) {
		c.Address, c.Certificate, c.Token = address, cert, "secret"
	})
	s.lock(t, "disk")
	good, bad := writeFile(t, "secret\n"), writeFile(t, "guess")
	identity := []string{"--tls-ca-file", cert.File, "--tls-cert-file", cert.File, "--tls-key-file", cert.KeyFile}
	for _, row := range []struct {
		name  string
		args  []string
		token string // in the environment
		err   string // what is said, or nothing if all is well
		code  int
	}{
		{"token in a file", append(identity, "--token-file", good), "", "", exitSuccess},
		{"token in the environment", identity, "secret", "", exitSuccess},
		{"the file before the environment", append(identity, "--token-file", good), "guess", "", exitSuccess},
		{"wrong token in a file", append(identity, "--token-file", bad), "secret", "token", exitDenied},
		{"no token", identity, "", "token", exitDenied},
		{"a server that is not trusted", []string{"--tls", "--token-file", good}, "", "certificate", exitUnavailable},
		{"another server's certificate", []string{"--tls-ca-file", other.File, "--token-file", good}, "", "certificate", exitUnavailable},
		{"no certificate to show", []string{"--tls-ca-file", cert.File, "--token-file", good}, "", "unavailable", exitUnavailable},
		{"no TLS", []string{"--token-file", good}, "", "unavailable", exitUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.token = row.token
			r := s.run(t, append([]string{"get", "disk", "--timeout", "5s", "--target", address}, row.args...)...)
			if r.code != row.code || !strings.Contains(r.err, row.err) || (r.err == "") != (row.err == "") {
				t.Errorf("got %+v, want %d, %q", r, row.code, row.err)
			}
			if strings.Contains(r.err, "secret") || strings.Contains(r.err, "guess") {
				t.Errorf("it tells the token: %s", r.err)
			}
		})
	}
}

func TestTarget_TokenOnSocket(t *testing.T) {
	s := startServer(t)
	s.token = "secret"
	s.run(t, "list", "-o", "json").check(t, "[]\n", "", exitSuccess)
}

func TestTarget_Usage(t *testing.T) {
	s := startServer(t)
	noPEM, empty := writeFile(t, "no certificate"), writeFile(t, " \n")
	for _, row := range []struct {
		name string
		args []string
		err  string
	}{
		{"authorities that are not there", []string{"--tls-ca-file", "/no/such"}, "mortise: --tls-ca-file: open /no/such: "},
		{"authorities that are none", []string{"--tls-ca-file", noPEM}, "mortise: --tls-ca-file: there is no certificate in "},
		{"a certificate without its key", []string{"--tls-cert-file", noPEM}, "mortise: --tls-cert-file and --tls-key-file: one needs the other"},
		{"a key without its certificate", []string{"--tls-key-file", noPEM}, "mortise: --tls-cert-file and --tls-key-file: one needs the other"},
		{"a certificate that is none", []string{"--tls-cert-file", noPEM, "--tls-key-file", noPEM}, "mortise: --tls-cert-file, --tls-key-file: "},
		{"a token that is not there", []string{"--token-file", "/no/such"}, "mortise: --token-file: open /no/such: "},
		{"a token that is empty", []string{"--token-file", empty}, "mortise: --token-file: "},
		{"a token that would cross the network in the clear", []string{"--target", "192.0.2.1:80", "--token-file", noPEM}, `mortise: dial "192.0.2.1:80": `},
		{"a timeout without a unit", []string{"--timeout", "5"}, "mortise: invalid argument"},
		{"an unknown form", []string{"-o", "yaml"}, `mortise: invalid argument "yaml" for "-o, --output" flag: must be table or json`},
		{"an unknown flag", []string{"--nope"}, "mortise: unknown flag: --nope"},
		{"too many arguments", []string{"a", "b"}, "mortise: accepts at most 1 arg"},
		{"a prefix that is no text", []string{"a\xff"}, "mortise: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.run(t, append([]string{"list"}, row.args...)...).check(t, "", row.err, exitUsage)
		})
	}
}

func TestTarget_Unreachable(t *testing.T) {
	s := startServer(t)
	s.Stop()
	for _, args := range [][]string{
		{"list"}, {"get", "disk"}, {"revoke", "disk", "--force"}, {"watch", "--timeout", "100ms"},
		lockScript("echo run"), lockScript("echo run", "--wait", "1h"), {"lock", "a", "b", "--", "echo", "run"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			s.run(t, args...).check(t, "", "mortise: ", exitUnavailable)
		})
	}
}

// A server that takes connections and then says nothing is not waited for without end.
func TestTarget_NoResponse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &server{folder: t.TempDir()}
	for _, args := range [][]string{{"list"}, {"revoke", "disk", "--force"}, {"watch"}, lockScript("echo run")} {
		t.Run(args[0], func(t *testing.T) {
			args := append([]string{args[0], "--timeout", "100ms", "--target", l.Addr().String()}, args[1:]...)
			s.run(t, args...).check(t, "", "mortise: ", exitUnavailable)
		})
	}
}

func TestTarget_Store(t *testing.T) {
	s := startServer(t)
	s.run(t, "list", "--store", "lockstore", "-o", "json").check(t, "[]\n", "", exitSuccess)
	s.run(t, "list", "--store", "nope", "--timeout", "1s").check(t, "", "mortise: ", exitUnavailable)
}

func TestUsage(t *testing.T) {
	s := startServer(t)
	for _, args := range [][]string{nil, {"nope"}, {"get"}, {"get", "a", "b"}, {"revoke"}, {"help"}, {"completion"}, {"watch", "a", "b"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			s.run(t, args...).check(t, "", "mortise: ", exitUsage)
		})
	}
}

func TestHelp(t *testing.T) {
	s := startServer(t)
	for _, row := range []struct{ command, says string }{
		{"", "Exit codes: "},
		{"list", "mortise locks list [PREFIX] [flags]"},
		{"get", "mortise locks get KEY [flags]"},
		{"watch", "mortise locks watch [PREFIX] [flags]"},
		{"revoke", "mortise locks revoke KEY {--owner OWNER | --force} [flags]"},
		{"lock", "mortise locks lock [flags] KEY... -- COMMAND [ARGUMENT...]\n"},
	} {
		t.Run(row.command, func(t *testing.T) {
			args := append(strings.Fields(row.command), "--help")
			if r := s.run(t, args...); r.code != exitSuccess || !strings.Contains(r.out, row.says) || r.err != "" {
				t.Errorf("got %+v", r)
			}
		})
	}
}
