package component

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"

	"github.com/dapr/kit/logger"
)

// certificates are the files of a TLS server, read again when they have changed:
// certificates are renewed while we run.
type certificates struct {
	options TCPOptions
	log     logger.Logger

	mu         sync.Mutex
	lastConfig *tls.Config // of the files when they were good
	lastState  string      // of the files when they were read
}

// newCertificates reads the files, which must be good to begin with.
func newCertificates(o TCPOptions, log logger.Logger) (*certificates, error) {
	c := &certificates{options: o, log: log}
	c.lastState = c.fileState()
	var err error
	c.lastConfig, err = c.load()
	return c, err
}

// config returns a configuration that follows the files, for a server that speaks the
// protocols. Without certificates it is nil.
func (c *certificates) config(protocols ...string) *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			config := c.current().Clone()
			config.NextProtos = protocols
			return config, nil
		},
	}
}

// current returns what a new connection gets. Files that are not good change nothing.
func (c *certificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamp := c.fileState()
	if stamp == c.lastState {
		return c.lastConfig
	}
	c.lastState = stamp
	if config, err := c.load(); err == nil {
		c.lastConfig = config
	} else {
		c.log.Warnf("The certificate stays, since its files are no good until they change again: %v", err)
	}
	return c.lastConfig
}

// look returns what is different when a file has changed.
func (c *certificates) fileState() (stamp string) {
	for _, file := range []string{c.options.CertFile, c.options.KeyFile, c.options.ClientCAFile} {
		if info, err := os.Stat(file); err == nil {
			stamp += fmt.Sprintln(info.ModTime().UnixNano(), info.Size())
		} else {
			stamp += fmt.Sprintln(err)
		}
	}
	return stamp
}

func (c *certificates) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.options.CertFile, c.options.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert-file: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	if c.options.ClientCAFile == "" {
		return config, nil
	}
	text, err := os.ReadFile(c.options.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("--tls-client-ca-file: %w", err)
	}
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--tls-client-ca-file: %s has no certificate", c.options.ClientCAFile)
	}
	return config, nil
}
