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

// freeAddress returns a loopback address with a free port.
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
		err   string // of standard error, or empty for success
		code  int
	}{
		{"token in a file", append(identity, "--token-file", good), "", "", exitSuccess},
		{"token in the environment", identity, "secret", "", exitSuccess},
		{"token in both; the file has precedence", append(identity, "--token-file", good), "guess", "", exitSuccess},
		{"wrong token in a file", append(identity, "--token-file", bad), "secret", "token", exitDenied},
		{"no token", identity, "", "token", exitDenied},
		{"a server that is not trusted", []string{"--tls", "--token-file", good}, "", "certificate", exitUnavailable},
		{"another server's certificate", []string{"--tls-ca-file", other.File, "--token-file", good}, "", "certificate", exitUnavailable},
		{"no client certificate", []string{"--tls-ca-file", cert.File, "--token-file", good}, "", "unavailable", exitUnavailable},
		{"no TLS", []string{"--token-file", good}, "", "unavailable", exitUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.token = row.token
			r := s.run(t, append([]string{"get", "disk", "--timeout", "5s", "--target", address}, row.args...)...)
			if r.code != row.code || !strings.Contains(r.err, row.err) || (r.err == "") != (row.err == "") {
				t.Errorf("got %+v, want %d, %q", r, row.code, row.err)
			}
			if strings.Contains(r.err, "secret") || strings.Contains(r.err, "guess") {
				t.Errorf("standard error has the token: %s", r.err)
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
		{"a CA file that does not exist", []string{"--tls-ca-file", "/no/such"}, "mortise: --tls-ca-file: open /no/such: "},
		{"an invalid CA file", []string{"--tls-ca-file", noPEM}, "mortise: --tls-ca-file: " + noPEM + " must have a PEM certificate"},
		{"a certificate without its key", []string{"--tls-cert-file", noPEM}, "mortise: --tls-cert-file and --tls-key-file must be set together"},
		{"a key without its certificate", []string{"--tls-key-file", noPEM}, "mortise: --tls-cert-file and --tls-key-file must be set together"},
		{"an invalid certificate", []string{"--tls-cert-file", noPEM, "--tls-key-file", noPEM}, "mortise: --tls-cert-file, --tls-key-file: "},
		{"a token file that does not exist", []string{"--token-file", "/no/such"}, "mortise: --token-file: open /no/such: "},
		{"an empty token file", []string{"--token-file", empty}, "mortise: --token-file: "},
		{"a token without TLS", []string{"--target", "192.0.2.1:80", "--token-file", noPEM}, `mortise: dial "192.0.2.1:80": `},
		{"a timeout without a unit", []string{"--timeout", "5"}, "mortise: invalid argument"},
		{"an unknown format", []string{"-o", "yaml"}, `mortise: invalid argument "yaml" for "-o, --output" flag: must be table or json`},
		{"an unknown flag", []string{"--nope"}, "mortise: unknown flag: --nope"},
		{"too many arguments", []string{"a", "b"}, "mortise: accepts at most 1 arg"},
		{"a prefix that is not UTF-8", []string{"a\xff"}, "mortise: "},
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

// A server that accepts connections and does not respond is not awaited forever.
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
	for _, row := range []struct{ command, want string }{
		{"", "Exit codes: "},
		{"list", "mortise locks list [PREFIX] [flags]"},
		{"get", "mortise locks get KEY [flags]"},
		{"watch", "mortise locks watch [PREFIX] [flags]"},
		{"revoke", "mortise locks revoke KEY {--owner OWNER | --force} [flags]"},
		{"lock", "mortise locks lock [flags] KEY... -- COMMAND [ARGUMENT...]\n"},
	} {
		t.Run(row.command, func(t *testing.T) {
			args := append(strings.Fields(row.command), "--help")
			if r := s.run(t, args...); r.code != exitSuccess || !strings.Contains(r.out, row.want) || r.err != "" {
				t.Errorf("got %+v", r)
			}
		})
	}
}
