package component

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"

	"github.com/dapr/kit/logger"
)

// certificates are the files of a TLS server. They are reloaded when they change, because
// certificates are renewed while the process runs.
type certificates struct {
	options TCPOptions
	log     logger.Logger

	mu         sync.Mutex
	lastConfig *tls.Config // of the last valid files
	lastState  string      // of the files when they were last read
}

// newCertificates loads the files, which must be valid.
func newCertificates(o TCPOptions, log logger.Logger) (*certificates, error) {
	c := &certificates{options: o, log: log}
	c.lastState = c.fileState()
	var err error
	c.lastConfig, err = c.load()
	return c, err
}

// config returns a configuration with the current files, for a server of the application
// protocols. For nil certificates it returns nil.
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

// current returns the configuration for a new connection. Invalid files do not replace
// it.
func (c *certificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.fileState()
	if state == c.lastState {
		return c.lastConfig
	}
	c.lastState = state
	if config, err := c.load(); err == nil {
		c.lastConfig = config
	} else {
		c.log.Warnf("Keeping the certificate until its files change again, because they are invalid: %v", err)
	}
	return c.lastConfig
}

// fileState returns a string that changes when a file changes.
func (c *certificates) fileState() (state string) {
	for _, file := range []string{c.options.CertFile, c.options.KeyFile, c.options.ClientCAFile} {
		if info, err := os.Stat(file); err == nil {
			state += fmt.Sprintln(info.ModTime().UnixNano(), info.Size())
		} else {
			state += fmt.Sprintln(err)
		}
	}
	return state
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
		return nil, fmt.Errorf("--tls-client-ca-file: %s contains no certificate", c.options.ClientCAFile)
	}
	return config, nil
}
