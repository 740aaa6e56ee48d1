package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/mortise-lock/mortise/client"
)

// target is the server of a command, as configured by flags.
type target struct {
	address   string
	store     string
	timeout   time.Duration
	tls       bool
	caFile    string
	certFile  string
	keyFile   string
	tokenFile string
	defaults  Defaults
}

func newTarget(flags *pflag.FlagSet, defaults Defaults) *target {
	t := &target{defaults: defaults}
	flags.StringVar(&t.address, "target", defaults.Target, "where Mortise is: unix:///path or host:port")
	flags.StringVar(&t.store, "store", "", "the component to use; required if Mortise has several")
	flags.DurationVar(&t.timeout, "timeout", 10*time.Second, "how long one request to Mortise may take")
	flags.BoolVar(&t.tls, "tls", false, "encrypt the connection; the other TLS flags imply it")
	flags.StringVar(&t.caFile, "tls-ca-file", "", "PEM certificates to trust instead of the system's")
	flags.StringVar(&t.certFile, "tls-cert-file", "", "PEM client certificate")
	flags.StringVar(&t.keyFile, "tls-key-file", "", "PEM key of that certificate")
	flags.StringVar(&t.tokenFile, "token-file", "", "file with the bearer token; default from $"+defaults.TokenVariable)
	return t
}

// dial returns a client that has not yet connected.
func (t *target) dial() (*client.Client, error) {
	options := []client.DialOption{client.Store(t.store)}
	config, err := t.tlsConfig()
	if err != nil {
		return nil, withExitCode(exitUsage, err)
	}
	if config != nil {
		options = append(options, client.TLS(config))
	}
	token, err := t.token()
	if err != nil {
		return nil, withExitCode(exitUsage, err)
	}
	if token != "" {
		options = append(options, client.BearerToken(token))
	}
	c, err := client.Dial(t.address, options...)
	return c, withExitCode(exitUsage, err)
}

// withClient calls do with a client and a ctx that is bounded by --timeout.
func (t *target) withClient(ctx context.Context, do func(context.Context, *client.Client) error) error {
	c, err := t.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	return do(ctx, c)
}

// tlsConfig returns nil for a connection without encryption.
func (t *target) tlsConfig() (*tls.Config, error) {
	if !t.tls && t.caFile == "" && t.certFile == "" && t.keyFile == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.caFile != "" {
		pem, err := os.ReadFile(t.caFile)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca-file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--tls-ca-file: %s must have a PEM certificate", t.caFile)
		}
	}
	if t.certFile == "" && t.keyFile == "" {
		return config, nil
	}
	if t.certFile == "" || t.keyFile == "" {
		return nil, errors.New("--tls-cert-file and --tls-key-file must be set together")
	}
	pair, err := tls.LoadX509KeyPair(t.certFile, t.keyFile)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert-file, --tls-key-file: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// token returns the bearer token, or "".
func (t *target) token() (string, error) {
	if t.tokenFile == "" {
		return t.defaults.Token, nil
	}
	text, err := os.ReadFile(t.tokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("--token-file: %s must not be empty", t.tokenFile)
	}
	return token, nil
}
