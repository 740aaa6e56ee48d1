package component

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/mortise-lock/mortise/test/servers"
)

func TestATurnLastsUntilItsConnectionIsUsed(t *testing.T) {
	for name, use := range map[string]func(net.Conn){
		"for reading": func(c net.Conn) { _, _ = c.Read(nil) },
		"for writing": func(c net.Conn) { _, _ = c.Write(nil) },
		"no more":     func(c net.Conn) { _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				turns := make(turns, 1)
				first, second := inPipe(t, turns), inPipe(t, turns)
				take(&tls.ClientHelloInfo{Conn: first})
				go take(&tls.ClientHelloInfo{Conn: second})
				synctest.Wait()
				if !first.has.Load() || second.has.Load() {
					t.Error("two have their turn at once")
				}
				use(first)
				synctest.Wait()
				if first.has.Load() || !second.has.Load() {
					t.Error("the next one does not have its turn")
				}
				use(first) // which is nothing to the others any more
				if len(turns) != 1 {
					t.Error("who has no turn has given one back")
				}
			})
		})
	}
}

// inPipe is one end of a connection whose other end is closed.
func inPipe(t *testing.T, turns turns) *inTurn {
	t.Helper()
	near, far := net.Pipe()
	_ = far.Close()
	t.Cleanup(func() { _ = near.Close() })
	return &inTurn{Conn: near, turns: turns}
}

func TestHandshakesThatFailGiveBackTheirTurn(t *testing.T) {
	certificate := servers.NewCertificate(t)
	n, err := newNetwork(TCPOptions{
		Address: "127.0.0.1:0", CertFile: certificate.File, KeyFile: certificate.KeyFile, ClientCAFile: certificate.File,
	}, discard)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	turns := make(turns, 1)
	l := tls.NewListener(turns.listener(plain), n.certificates.config("h2"))
	var served sync.WaitGroup
	served.Go(func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			served.Go(func() {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			})
		}
	})
	defer served.Wait()
	defer l.Close()

	good := certificate.ClientConfig()
	old, other, nobody := good.Clone(), good.Clone(), good.Clone()
	old.MaxVersion, other.NextProtos, nobody.Certificates = tls.VersionTLS12, []string{"other"}, nil
	for range 3 {
		for _, config := range []*tls.Config{old, other, nobody, good} {
			_ = shake(plain.Addr(), config) // it counts for the turns only
		}
	}
	if err := shake(plain.Addr(), good); err != nil {
		t.Errorf("a good client: %v", err)
	}
	_ = l.Close()
	served.Wait()
	if len(turns) != 0 {
		t.Error("somebody has his turn for good")
	}
}

// shake agrees on TLS, if that can be, and is gone.
func shake(addr net.Addr, config *tls.Config) error {
	conn, err := tls.Dial(addr.Network(), addr.String(), config)
	if err != nil {
		return err
	}
	return conn.Close()
}
