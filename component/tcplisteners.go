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

// TCPOptions are the options of serving clients that cannot use the socket. TLS is for
// all addresses, the token for all but Dapr's, which have their own.
type TCPOptions struct {
	Address        string // host:port of gRPC; off if empty
	HTTPAddress    string // host:port of RTM over HTTP; off if empty
	MetricsAddress string // host:port of metrics over HTTP; off if empty

	// LockEventMetrics adds, at MetricsAddress, the metrics that need a subscription to
	// all lock events of every store.
	LockEventMetrics bool

	// CertFile and KeyFile are the PEM files of the TLS certificate. They are reloaded
	// when they change.
	CertFile, KeyFile string

	ClientCAFile  string // CAs of client certificates, which are not required if empty
	Token         string // bearer token that clients must send; none if empty
	TokenFile     string // file with the token, used instead of Token
	AllowInsecure bool   // permit other machines without TLS or without authentication

	Dapr DaprOptions
}

// endpoint is a TCP address that is served.
type endpoint struct {
	flag, address string
	needsToken    bool
	server        func(*tcpListeners, services) server
}

// endpoints returns the endpoints that are on.
func (o TCPOptions) endpoints() []endpoint {
	token, daprToken := o.Token+o.TokenFile != "", o.Dapr.Token != ""
	return slices.DeleteFunc([]endpoint{
		{"--listen-address", o.Address, token, (*tcpListeners).grpcServer},
		{"--http-listen-address", o.HTTPAddress, token, (*tcpListeners).httpServer},
		{"--metrics-address", o.MetricsAddress, token, (*tcpListeners).metricsServer},
		{"--dapr-grpc-listen-address", o.Dapr.GRPCAddress, daprToken, (*tcpListeners).daprGRPCServer},
		{"--dapr-http-listen-address", o.Dapr.HTTPAddress, daprToken, (*tcpListeners).daprHTTPServer},
	}, func(e endpoint) bool { return e.address == "" })
}

// tcpListeners are the listeners of all endpoints.
type tcpListeners struct {
	options      TCPOptions
	log          logger.Logger
	auth         *tokenAuth    // nil: no token is required
	certificates *certificates // nil: no TLS
}

// newTCPListeners checks the options and reads the files that they name.
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

// check returns an error if options are missing, contradictory or dangerous.
func (o TCPOptions) check() error {
	endpoints := o.endpoints()
	secured := o.CertFile + o.KeyFile + o.ClientCAFile + o.TokenFile
	switch {
	case len(endpoints) == 0 && (secured != "" || o.AllowInsecure || o.LockEventMetrics):
		return errors.New("flags for TCP need an address to listen at, such as --listen-address")
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

// checkEndpoint returns an error if clients without authentication can connect from other
// machines.
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

// insecureError returns the error of an endpoint that other machines can reach.
func (e endpoint) insecureError(reason string) error {
	return fmt.Errorf("%s %s can be reached from other machines, %s: --allow-insecure-tcp allows that", e.flag, e.address, reason)
}

// isLoopback reports whether the host is a loopback address. The only name that it
// accepts is localhost.
func isLoopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// token returns the token that clients must send, or "".
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

// checkToken returns the token, or an error if clients cannot send it. An empty token is
// an error too, because it would accept every client.
func checkToken(source, token string) (string, error) {
	trimmed := strings.TrimSpace(token)
	if trimmed == "" {
		return "", fmt.Errorf("%s must not be empty", source)
	}
	if trimmed != token || strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", fmt.Errorf("%s must have only printable ASCII characters, as a header can carry", source)
	}
	return token, nil
}

// serve opens the ports and starts the servers in the group. If it fails, some servers
// may have started.
func (n *tcpListeners) serve(ctx context.Context, group *serverGroup, s services) error {
	endpoints := n.options.endpoints()
	for _, e := range endpoints {
		l, err := e.listen(ctx, n.options.AllowInsecure)
		if err != nil {
			return err
		}
		limit := connectionLimit(len(endpoints))
		n.log.Infof("Listening on %s for %s, at most %d connections", l.Addr(), e.flag, limit)
		group.start(e.server(n, s), newLimitListener(l, limit))
	}
	return nil
}

// listen opens the port. Unless insecure is set, a host that names this machine must
// resolve to a loopback address.
func (e endpoint) listen(ctx context.Context, insecure bool) (*net.TCPListener, error) {
	config := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepaliveTime, Interval: keepaliveTimeout / keepaliveProbes, Count: keepaliveProbes,
	}}
	l, err := config.Listen(ctx, "tcp", e.address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.flag, err)
	}
	if err := e.checkBound(l.Addr().(*net.TCPAddr)); err != nil && !insecure {
		return nil, errors.Join(err, l.Close())
	}
	return l.(*net.TCPListener), nil
}

// checkBound returns an error if the host names this machine and has resolved to an
// address that other machines can reach.
func (e endpoint) checkBound(addr *net.TCPAddr) error {
	if host, _, _ := net.SplitHostPort(e.address); !isLoopback(host) || addr.IP.IsLoopback() {
		return nil
	}
	return e.insecureError(fmt.Sprintf("because it resolves to %s", addr))
}

// grpcServer returns the server for gRPC over TCP. It has no LockStore service: with that
// service's Init a remote client could make Mortise connect to any address.
func (n *tcpListeners) grpcServer(s services) server {
	options := append(n.grpcOptions(), grpc.MaxRecvMsgSize(maxRequest))
	if n.auth != nil {
		options = append(options, n.auth.serverOptions()...)
	}
	return s.newGRPCServer(s.register, options...)
}

// grpcOptions returns the options of every gRPC server on TCP.
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
