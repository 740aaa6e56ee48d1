package component

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

const (
	// pingAfter and pongWithin are how a client is found that is gone without a word: after their sum, with everything that
	// it waited for. A Unix socket needs no such thing, its end is always told. TCP itself asks in the same time, for clients
	// of HTTP, by so many probes.
	pingAfter  = 10 * time.Second
	pongWithin = 10 * time.Second
	probes     = 2

	// maxCalls bounds the calls under way on one connection. It is so large because a call that waits for a lock counts, and
	// the call that would free the lock must not be kept waiting behind those.
	maxCalls = 1 << 16

	// maxHeader bounds the bytes of a call's metadata, which anybody can send who can connect.
	maxHeader = 64 << 10
)

// TCPOptions says how to serve clients that cannot use the socket. What is said of TLS and tokens is for all of them.
type TCPOptions struct {
	Address       string // host:port for gRPC; empty is not at all
	HTTPAddress   string // host:port for HTTP; empty is not at all
	CertFile      string // with KeyFile: the certificate for TLS, PEM; read again when it changes
	KeyFile       string
	ClientCAFile  string // whose certificates clients must have; empty: they need none
	Token         string // what clients must send as "authorization: Bearer <token>"; empty: nothing
	TokenFile     string // where the token is, in the place of Token
	AllowInsecure bool   // serve other machines without TLS, or whoever connects

	Dapr DaprOptions // which have a token of their own
}

// endpoint is an address to listen at.
type endpoint struct {
	flag, address string
	token         bool // is asked for
	server        func(*network, services) server
}

// endpoints are those that are wanted.
func (o TCPOptions) endpoints() []endpoint {
	ours, daprs := o.Token+o.TokenFile != "", o.Dapr.Token != ""
	return slices.DeleteFunc([]endpoint{
		{"--listen-address", o.Address, ours, (*network).grpcServer},
		{"--http-listen-address", o.HTTPAddress, ours, (*network).httpServer},
		{"--dapr-grpc-listen-address", o.Dapr.GRPCAddress, daprs, (*network).daprGRPCServer},
		{"--dapr-http-listen-address", o.Dapr.HTTPAddress, daprs, (*network).daprHTTPServer},
	}, func(e endpoint) bool { return e.address == "" })
}

// network is what serves TCP.
type network struct {
	options      TCPOptions
	log          logger.Logger
	guard        *guard        // nil: nobody needs a token
	certificates *certificates // nil: there is no TLS
}

// newNetwork checks the options, and reads the files that they name.
func newNetwork(o TCPOptions, log logger.Logger) (*network, error) {
	n := &network{options: o, log: log}
	if err := o.check(); err != nil || len(o.endpoints()) == 0 {
		return n, err
	}
	token, err := o.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		n.guard = new(newGuard(token))
	}
	if o.CertFile != "" {
		n.certificates, err = newCertificates(o, log)
	}
	return n, err
}

// check tells what is missing or dangerous.
func (o TCPOptions) check() error {
	endpoints := o.endpoints()
	secured := o.CertFile + o.KeyFile + o.ClientCAFile + o.TokenFile
	switch {
	case len(endpoints) == 0 && (secured != "" || o.AllowInsecure):
		return errors.New("flags for TCP are given, and no address to listen at, as by --listen-address")
	case (o.CertFile == "") != (o.KeyFile == ""):
		return errors.New("--tls-cert-file and --tls-key-file need each other")
	case o.ClientCAFile != "" && o.CertFile == "":
		return errors.New("--tls-client-ca-file needs --tls-cert-file")
	}
	for _, e := range endpoints {
		if err := o.checkEndpoint(e); err != nil {
			return err
		}
	}
	return nil
}

// checkEndpoint tells whether more can connect than may.
func (o TCPOptions) checkEndpoint(e endpoint) error {
	host, _, err := net.SplitHostPort(e.address)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", e.flag, err)
	case isLoopback(host) || o.AllowInsecure:
		return nil
	case o.CertFile == "":
		return e.refused("without TLS")
	case o.ClientCAFile == "" && !e.token:
		return e.refused("with neither a token nor client certificates")
	}
	return nil
}

func (e endpoint) refused(how string) error {
	return fmt.Errorf("%s %s can be reached from other machines, %s: --allow-insecure-tcp allows that", e.flag, e.address, how)
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

// serve opens the ports and lets the group serve them. If it fails, some may be served.
func (n *network) serve(ctx context.Context, group *serverGroup, s services) error {
	for _, e := range n.options.endpoints() {
		l, err := e.listen(ctx, n.options.AllowInsecure)
		if err != nil {
			return err
		}
		n.log.Infof("Listening on %s", l.Addr())
		group.start(e.server(n, s), l)
	}
	return nil
}

// listen opens the port. Unless it may be open, a name for this machine must be that of no other.
func (e endpoint) listen(ctx context.Context, open bool) (net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: pingAfter, Interval: pongWithin / probes, Count: probes,
	}}
	l, err := config.Listen(ctx, "tcp", e.address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.flag, err)
	}
	host, _, _ := net.SplitHostPort(e.address)
	if isLoopback(host) && !l.Addr().(*net.TCPAddr).IP.IsLoopback() && !open {
		return nil, errors.Join(fmt.Errorf("%s %s is not on this machine alone", e.flag, e.address), l.Close())
	}
	return l, nil
}

// grpcServer returns the server for gRPC over TCP. It has no LockStore service, whose Init opens stores with any metadata: who
// may use locks from afar may not make Mortise connect to wherever they like.
func (n *network) grpcServer(s services) server {
	options := n.grpcOptions()
	if n.guard != nil {
		options = append(options, n.guard.options()...)
	}
	return newGRPCServer(s.register, options...)
}

// grpcOptions are for every gRPC server that is reached over TCP.
func (n *network) grpcOptions() []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pongWithin}),
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.MaxHeaderListSize(maxHeader),
	}
	if config := n.certificates.config("h2"); config != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	return options
}
