package component

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/locks"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
)

const (
	// pingAfter and pongWithin are how a client is found that is gone without a word: after their sum, with everything that
	// it waited for. A Unix socket needs no such thing, its end is always told.
	pingAfter  = 10 * time.Second
	pongWithin = 10 * time.Second

	// maxCalls bounds the calls under way on one connection. It is so large because a call that waits for a lock counts, and
	// the call that would free the lock must not be kept waiting behind those.
	maxCalls = 1 << 16

	// maxHeader bounds the bytes of a call's metadata, which anybody can send who can connect.
	maxHeader = 64 << 10
)

// TCPOptions says how to serve clients that cannot use the socket.
type TCPOptions struct {
	Address       string // host:port; empty is not at all
	CertFile      string // with KeyFile: the certificate for TLS, PEM; read again when it changes
	KeyFile       string
	ClientCAFile  string // whose certificates clients must have; empty: they need none
	Token         string // what clients must send as "authorization: Bearer <token>"; empty: nothing
	TokenFile     string // where the token is, in the place of Token
	AllowInsecure bool   // serve other machines without TLS, or whoever connects
}

// network is a TCP listener in the making. A nil network does not listen.
type network struct {
	net.Listener
	options  TCPOptions
	security []grpc.ServerOption
}

// newNetwork checks the options, and reads the files that they name.
func newNetwork(o TCPOptions, log logger.Logger) (*network, error) {
	if err := o.check(); err != nil || o.Address == "" {
		return nil, err
	}
	n := &network{options: o}
	token, err := o.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		n.security = newGuard(token).options()
	}
	if o.CertFile != "" {
		config, err := serverTLS(o, log)
		if err != nil {
			return nil, err
		}
		n.security = append(n.security, grpc.Creds(credentials.NewTLS(config)))
	}
	return n, nil
}

// check tells what is missing or dangerous.
func (o TCPOptions) check() error {
	secured := o.CertFile + o.KeyFile + o.ClientCAFile + o.TokenFile
	switch {
	case o.Address == "" && (secured != "" || o.AllowInsecure):
		return errors.New("flags for TCP are given, and no --listen-address")
	case (o.CertFile == "") != (o.KeyFile == ""):
		return errors.New("--tls-cert-file and --tls-key-file need each other")
	case o.ClientCAFile != "" && o.CertFile == "":
		return errors.New("--tls-client-ca-file needs --tls-cert-file")
	case o.Address == "":
		return nil
	}
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return fmt.Errorf("--listen-address: %w", err)
	}
	if isLoopback(host) || o.AllowInsecure {
		return nil
	}
	if o.CertFile == "" {
		return o.refused("without TLS")
	}
	if o.ClientCAFile == "" && o.Token == "" && o.TokenFile == "" {
		return o.refused("with neither a token nor client certificates")
	}
	return nil
}

func (o TCPOptions) refused(how string) error {
	return fmt.Errorf("--listen-address %s can be reached from other machines, %s: --allow-insecure-tcp allows that", o.Address, how)
}

// isLoopback tells whether only this machine can reach the host. Of names that is believed of one only.
func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// token is what clients must send.
func (o TCPOptions) token() (string, error) {
	token := strings.TrimSpace(o.Token)
	if o.TokenFile != "" {
		text, err := os.ReadFile(o.TokenFile)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		if token = strings.TrimSpace(string(text)); token == "" {
			return "", fmt.Errorf("--token-file: %s is empty", o.TokenFile)
		}
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("the token has characters that a header cannot carry")
	}
	return token, nil
}

// listen opens the port.
func (n *network) listen(ctx context.Context) (err error) {
	if n == nil {
		return nil
	}
	var config net.ListenConfig
	if n.Listener, err = config.Listen(ctx, "tcp", n.options.Address); err != nil {
		return fmt.Errorf("--listen-address: %w", err)
	}
	host, _, _ := net.SplitHostPort(n.options.Address)
	if isLoopback(host) && !n.Addr().(*net.TCPAddr).IP.IsLoopback() && !n.options.AllowInsecure {
		return errors.Join(fmt.Errorf("--listen-address %s is not on this machine alone", n.options.Address), n.Close())
	}
	return nil
}

// server returns the server for TCP. It has no LockStore service, whose Init opens stores with any metadata: who may use
// locks from afar may not make Mortise connect to wherever they like.
func (n *network) server(set *instances.Set) *server {
	return newServer(func(r grpc.ServiceRegistrar) {
		lockspb.RegisterLocksServer(r, locks.New(set.Guests()))
	}, append(n.security,
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pongWithin}),
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.MaxHeaderListSize(maxHeader),
	)...)
}
