package component

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// TCPOptions says how to serve clients that cannot use the socket. What is said of TLS
// and tokens is for all of them.
type TCPOptions struct {
	Address        string // host:port for gRPC; empty is not at all
	HTTPAddress    string // host:port for HTTP; empty is not at all
	MetricsAddress string // host:port for metrics over HTTP; empty is not at all
	CertFile       string // with KeyFile: the certificate for TLS, PEM; read again when it changes
	KeyFile        string
	ClientCAFile   string // whose certificates clients must have; empty: they need none
	Token          string // what clients must send as "authorization: Bearer <token>"; empty: nothing
	TokenFile      string // where the token is, in the place of Token
	// LockEventMetrics adds, at MetricsAddress, the metrics that need a subscription to
	// all lock events of every store.
	LockEventMetrics bool

	AllowInsecure bool // serve other machines without TLS, or whoever connects

	Dapr DaprOptions // which have a token of their own
}

// endpoint is an address to listen at.
type endpoint struct {
	flag, address string
	needsToken    bool // is asked for
	server        func(*tcpListeners, services) server
}

// endpoints are those that are wanted.
func (o TCPOptions) endpoints() []endpoint {
	ours, daprs := o.Token+o.TokenFile != "", o.Dapr.Token != ""
	return slices.DeleteFunc([]endpoint{
		{"--listen-address", o.Address, ours, (*tcpListeners).grpcServer},
		{"--http-listen-address", o.HTTPAddress, ours, (*tcpListeners).httpServer},
		{"--metrics-address", o.MetricsAddress, ours, (*tcpListeners).metricsServer},
		{"--dapr-grpc-listen-address", o.Dapr.GRPCAddress, daprs, (*tcpListeners).daprGRPCServer},
		{"--dapr-http-listen-address", o.Dapr.HTTPAddress, daprs, (*tcpListeners).daprHTTPServer},
	}, func(e endpoint) bool { return e.address == "" })
}

// network is what serves TCP.
type tcpListeners struct {
	options      TCPOptions
	log          logger.Logger
	auth         *tokenAuth    // nil: nobody needs a token
	certificates *certificates // nil: there is no TLS
}

// newNetwork checks the options, and reads the files that they name.
func newTCPListeners(o TCPOptions, log logger.Logger) (*tcpListeners, error) {
	n := &tcpListeners{options: o, log: log}
	if err := o.check(); err != nil || len(o.endpoints()) == 0 {
		return n, err
	}
	token, err := o.token()
	if err != nil {
		return nil, err
	}
	if err := o.Dapr.checkToken(); err != nil {
		return nil, err
	}
	if token != "" {
		n.auth = new(newTokenAuth(token))
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
	case len(endpoints) == 0 && (secured != "" || o.AllowInsecure || o.LockEventMetrics):
		return errors.New("flags for TCP are given, and no address to listen at, as by --listen-address")
	case o.LockEventMetrics && o.MetricsAddress == "":
		return errors.New("--lock-event-metrics needs --metrics-address")
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
		return e.insecureError("without TLS")
	case o.ClientCAFile == "" && !e.needsToken:
		return e.insecureError("with neither a token nor client certificates")
	}
	return nil
}

func (e endpoint) insecureError(how string) error {
	return fmt.Errorf("%s %s can be reached from other machines, %s: --allow-insecure-tcp allows that", e.flag, e.address, how)
}

// isLoopback tells whether only this machine can reach the host. Of names that is
// believed of one only.
func isLoopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// token is what clients must send; empty: nothing.
func (o TCPOptions) token() (string, error) {
	if o.TokenFile == "" {
		if o.Token == "" {
			return "", nil
		}
		return checkToken("$"+TokenVariable, strings.TrimSpace(o.Token))
	}
	text, err := os.ReadFile(o.TokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	return checkToken("--token-file: "+o.TokenFile, strings.TrimSpace(string(text)))
}

// checkToken returns the token if clients can send it. An empty one would let everybody
// in where somebody is to be kept out.
func checkToken(source, token string) (string, error) {
	trimmed := strings.TrimSpace(token)
	if trimmed == "" {
		return "", fmt.Errorf("%s is empty", source)
	}
	if trimmed != token || strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", fmt.Errorf("%s has characters that a header cannot carry", source)
	}
	return token, nil
}

// serve opens the ports and lets the group serve them. If it fails, some may be served.
func (n *tcpListeners) serve(ctx context.Context, group *serverGroup, s services) error {
	endpoints := n.options.endpoints()
	for _, e := range endpoints {
		l, err := e.listen(ctx, n.options.AllowInsecure)
		if err != nil {
			return err
		}
		most := connectionLimit(len(endpoints))
		n.log.Infof("Listening on %s for %s, at most %d connections", l.Addr(), e.flag, most)
		group.start(e.server(n, s), newLimitListener(l, most))
	}
	return nil
}

// listen opens the port. Unless it may be open, a name for this machine must be that of
// no other.
func (e endpoint) listen(ctx context.Context, open bool) (*net.TCPListener, error) {
	config := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepaliveTime, Interval: keepaliveTimeout / keepaliveProbes, Count: keepaliveProbes,
	}}
	l, err := config.Listen(ctx, "tcp", e.address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.flag, err)
	}
	if err := e.checkBound(l.Addr().(*net.TCPAddr)); err != nil && !open {
		return nil, errors.Join(err, l.Close())
	}
	return l.(*net.TCPListener), nil
}

// checkBound tells whether what was believed to be this machine's alone has turned out to
// be another address.
func (e endpoint) checkBound(addr *net.TCPAddr) error {
	if host, _, _ := net.SplitHostPort(e.address); !isLoopback(host) || addr.IP.IsLoopback() {
		return nil
	}
	return e.insecureError(fmt.Sprintf("since it is %s", addr))
}

// grpcServer returns the server for gRPC over TCP. It has no LockStore service, whose
// Init opens stores with any metadata: who may use locks from afar may not make Mortise
// connect to wherever they like.
func (n *tcpListeners) grpcServer(s services) server {
	options := append(n.grpcOptions(), grpc.MaxRecvMsgSize(maxRequest))
	if n.auth != nil {
		options = append(options, n.auth.serverOptions()...)
	}
	return s.newGRPCServer(s.register, options...)
}

// grpcOptions are for every gRPC server that is reached over TCP.
func (n *tcpListeners) grpcOptions() []grpc.ServerOption {
	options := append(requestDeadlineOptions(),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout, Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.ReadBufferSize(readBuffer),
	)
	if config := n.certificates.config("h2"); config != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	return options
}
