package servers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificate is a new self-signed certificate for the loopback interface, valid for a
// server and a client.
type Certificate struct {
	File, KeyFile string // paths
	PEM, KeyPEM   string // contents
}

// NewCertificate returns a certificate that is valid for the duration of the test.
func NewCertificate(t testing.TB) Certificate {
	t.Helper()
	template := newTemplate(time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	template.IsCA, template.BasicConstraintsValid = true, true
	pair := sign(t, template, nil)
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := Certificate{
		File:    filepath.Join(dir, "cert.pem"),
		KeyFile: filepath.Join(dir, "key.pem"),
		PEM:     string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		KeyPEM:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	}
	for file, text := range map[string]string{c.File: c.PEM, c.KeyFile: c.KeyPEM} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func newTemplate(from, to time.Time) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(from.UnixNano()), NotBefore: from, NotAfter: to}
}

// sign creates a key, and a certificate for it from the template. The parent signs the
// certificate; without a parent, it is self-signed.
func sign(t testing.TB, template *x509.Certificate, parent *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, signerKey := template, crypto.PrivateKey(key)
	if parent != nil {
		signer, signerKey = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, &key.PublicKey, signerKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Issue returns a client certificate that c has signed, valid between two times.
func (c Certificate) Issue(t testing.TB, from, to time.Time) tls.Certificate {
	t.Helper()
	parent := c.pair()
	template := newTemplate(from, to)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return sign(t, template, &parent)
}

// ClientConfig returns a TLS configuration that trusts the certificate and presents it.
func (c Certificate) ClientConfig() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.PEM))
	return &tls.Config{Certificates: []tls.Certificate{c.pair()}, RootCAs: roots}
}

func (c Certificate) pair() tls.Certificate {
	pair, err := tls.X509KeyPair([]byte(c.PEM), []byte(c.KeyPEM))
	if err != nil {
		panic(err) // NewCertificate returns valid ones
	}
	return pair
}
