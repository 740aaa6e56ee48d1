package component

import (
	"crypto/tls"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/test/servers"
)

func TestTLS_ClientCertificates(t *testing.T) {
	certificate, stranger := servers.NewCertificate(t), servers.NewCertificate(t)
	addr := serveMemory(t, TCPOptions{
		Address: "127.0.0.1:0", CertFile: certificate.File, KeyFile: certificate.KeyFile, ClientCAFile: certificate.File,
	})
	with := func(change func(*tls.Config)) credentials.TransportCredentials {
		c := certificate.ClientConfig()
		change(c)
		return credentials.NewTLS(c)
	}
	for _, row := range []struct {
		name  string
		creds credentials.TransportCredentials
		want  codes.Code
	}{
		{"a client with a certificate", with(func(*tls.Config) {}), codes.OK},
		{"a client without a certificate", with(func(c *tls.Config) { c.Certificates = nil }), codes.Unavailable},
		{"a client with a certificate of another CA", with(func(c *tls.Config) {
			c.Certificates = stranger.ClientConfig().Certificates
		}), codes.Unavailable},
		{"a client without TLS", insecure.NewCredentials(), codes.Unavailable},
		{"a client with old TLS", with(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), codes.Unavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			locks := lockspb.NewLocksClient(dial(t, addr, row.creds))
			_, err := locks.TryLock(t.Context(), &lockspb.TryLockRequest{Key: "k", Owner: "o", Ttl: hour})
			if status.Code(err) != row.want {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestTLS_ReplacedClientCA(t *testing.T) {
	trusted, next := servers.NewCertificate(t), servers.NewCertificate(t)
	addr := serveMemory(t, TCPOptions{
		Address: "127.0.0.1:0", CertFile: next.File, KeyFile: next.KeyFile, ClientCAFile: trusted.File,
	})
	config := trusted.ClientConfig()
	config.RootCAs, config.NextProtos = next.ClientConfig().RootCAs, []string{"h2"}
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	connect := func() (resumed bool, err error) {
		conn, err := tls.Dial("tcp", addr, config)
		if err != nil {
			return false, err
		}
		defer conn.Close()
		// An accepted client receives the server's settings.
		_, err = conn.Read(make([]byte, 1))
		return conn.ConnectionState().DidResume, err
	}
	for _, want := range []bool{false, true} {
		if resumed, err := connect(); err != nil || resumed != want {
			t.Fatalf("a client of the CA: resumed is %v, want %v; %v", resumed, want, err)
		}
	}
	if err := os.WriteFile(trusted.File, []byte(next.PEM), 0o600); err != nil {
		t.Fatal(err)
	}
	soon := time.Now().Add(time.Second) // regardless of the file system's resolution
	if err := os.Chtimes(trusted.File, soon, soon); err != nil {
		t.Fatal(err)
	}
	if resumed, err := connect(); err == nil {
		t.Errorf("a client of a CA that was replaced is accepted; resumed is %v", resumed)
	}
}

func TestTLS_ReloadsCertificate(t *testing.T) {
	served, next := servers.NewCertificate(t), servers.NewCertificate(t)
	addr := serveMemory(t, TCPOptions{Address: "127.0.0.1:0", CertFile: served.File, KeyFile: served.KeyFile})
	// serves reports whether the server has the certificate.
	serves := func(c servers.Certificate) bool {
		t.Helper()
		config := c.ClientConfig()
		config.NextProtos = []string{"h2"}
		dialer := &tls.Dialer{Config: config}
		conn, err := dialer.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}
	age := time.Now()
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		age = age.Add(time.Second) // regardless of the file system's resolution
		if err := os.Chtimes(file, age, age); err != nil {
			t.Fatal(err)
		}
	}
	if !serves(served) {
		t.Error("the certificate is not served")
	}
	write(served.File, next.PEM) // while the key file has the old key
	if !serves(served) || serves(next) {
		t.Error("a mismatched certificate and key have replaced the certificate")
	}
	write(served.KeyFile, next.KeyPEM)
	if !serves(next) || serves(served) {
		t.Error("the new certificate is not served")
	}
	if err := os.Remove(served.File); err != nil {
		t.Fatal(err)
	}
	if !serves(next) {
		t.Error("a missing file has replaced the certificate")
	}
}
