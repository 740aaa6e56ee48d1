package servers

import (
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

// Certificate is a fresh self-signed certificate for the loopback interface, good for a server and a client.
type Certificate struct {
	File, KeyFile string // where it is
	PEM, KeyPEM   string // what it says
}

// NewCertificate makes a certificate that lasts for the test.
func NewCertificate(t testing.TB) Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := Certificate{
		File:    filepath.Join(dir, "cert.pem"),
		KeyFile: filepath.Join(dir, "key.pem"),
		PEM:     string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		KeyPEM:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
	}
	for file, text := range map[string]string{c.File: c.PEM, c.KeyFile: c.KeyPEM} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// ClientConfig trusts the certificate and shows it.
func (c Certificate) ClientConfig() *tls.Config {
	pair, err := tls.X509KeyPair([]byte(c.PEM), []byte(c.KeyPEM))
	if err != nil {
		panic(err) // NewCertificate made it
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.PEM))
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}
}
