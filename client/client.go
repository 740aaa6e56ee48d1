package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
)

// Client acquires locks from a Mortise. It is safe for concurrent use; a program needs
// only one.
type Client struct {
	*connection
	settings settings // the defaults of all calls
}

// connection is shared by all clients that stem from one Dial.
type connection struct {
	grpc  *grpc.ClientConn
	locks lockspb.LocksClient

	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	requests sync.WaitGroup // for locks; grows only under mu while leases is not nil

	mu     sync.Mutex
	leases map[*Lease]struct{} // that have not ended; nil after Close
}

// connectParams makes a client reconnect within about 0.2 s after Mortise has become
// reachable again.
var connectParams = grpc.ConnectParams{
	Backoff: grpcbackoff.Config{
		BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 150 * time.Millisecond,
	},
	MinConnectTimeout: 3 * time.Second,
}

// keepaliveParams detect that the peer's machine has failed: a call that waits for a lock
// sends nothing that could fail. Unix sockets need no pings, because the kernel reports
// their end.
var keepaliveParams = keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}

// Dial returns a client of the Mortise at target, "unix:///path/mortise.sock" or
// "host:port". It does not connect: if Mortise is unreachable, the first call fails or
// waits, depending on the method.
//
// Options for locks, such as [TTL] or [Namespace], become defaults for all calls. Without
// [TLS] the connection is not encrypted. If [HoldingVariable] is set in the environment,
// its owners are declared as with [Holding]: a program that was started under a lock
// fails with [ErrDeadlock] instead of waiting for that lock.
func Dial(target string, opts ...DialOption) (*Client, error) {
	d := dialConfig{settings: settings{ttl: DefaultTTL, wait: forever, holding: envHolding()}}
	for _, o := range opts {
		o.dial(&d)
	}
	if _, err := d.settings.key(""); err != nil {
		return nil, fmt.Errorf("mortise: dial %q: %w", target, err)
	}
	if d.token != "" && d.tls == nil && !isLocal(target) {
		return nil, fmt.Errorf("mortise: dial %q: a bearer token requires TLS, a Unix socket or a loopback address", target)
	}
	conn, err := grpc.NewClient(target, d.grpcOptions(target)...)
	if err != nil {
		return nil, fmt.Errorf("mortise: dial %q: %w", target, err)
	}
	c := &connection{grpc: conn, locks: lockspb.NewLocksClient(conn), leases: map[*Lease]struct{}{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return &Client{c, d.settings}, nil
}

// With returns a client that shares the connection and has other defaults.
func (c *Client) With(opts ...Option) *Client { return &Client{c.connection, c.settings.with(opts)} }

// Conn returns the connection and the default of [Store], for packages that call other
// services of Mortise. Close closes the connection.
func (c *Client) Conn() (conn *grpc.ClientConn, store string) { return c.grpc, c.settings.store }

// Close closes the connection, for all clients that share it. Leases that are still held
// are lost: their Contexts end with [ErrLost]. Their locks are not released but expire
// with their TTL, because the work under them may still be running. Calls in progress and
// later calls fail with [ErrClosed]. A lock that a call in progress may have been granted
// is released first, which takes at most half a second.
func (c *Client) Close() error {
	c.mu.Lock()
	leases := c.leases
	c.leases = nil
	c.mu.Unlock()
	for l := range leases {
		l.lose(ErrClosed)
	}
	c.cancel()
	c.requests.Wait()
	err := c.grpc.Close()
	for l := range leases {
		l.renewals.Wait()
	}
	if leases == nil {
		return nil // already closed
	}
	return err
}

func (c *connection) closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leases == nil
}

// beginRequest registers a request for locks, which calls requests.Done at its end. It
// returns false after Close.
func (c *connection) beginRequest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leases == nil {
		return false
	}
	c.requests.Add(1)
	return true
}

// addLease adds the lease to those that Close ends. It returns false after Close.
func (c *connection) addLease(l *Lease) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leases == nil {
		return false
	}
	c.leases[l] = struct{}{}
	return true
}

func (c *connection) removeLease(l *Lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.leases, l)
}

// DialOption changes how a client connects. Each [Option] is one too.
type DialOption interface{ dial(*dialConfig) }

// dialConfig is the configuration of a Dial.
type dialConfig struct {
	settings settings
	tls      *tls.Config
	token    string
	grpc     []grpc.DialOption
}

type dialOption func(*dialConfig)

func (o dialOption) dial(d *dialConfig) { o(d) }

// TLS encrypts the connection. A nil config trusts the system's certificates and takes
// the server's name from the target.
func TLS(config *tls.Config) DialOption {
	if config == nil {
		config = &tls.Config{}
	}
	return dialOption(func(d *dialConfig) { d.tls = config })
}

// BearerToken sends the token with each call. It requires [TLS] unless the target is a
// Unix socket, localhost or a loopback address.
func BearerToken(token string) DialOption {
	return dialOption(func(d *dialConfig) { d.token = token })
}

// GRPC passes options such as interceptors on to gRPC, after the client's own options.
func GRPC(opts ...grpc.DialOption) DialOption {
	return dialOption(func(d *dialConfig) { d.grpc = append(d.grpc, opts...) })
}

func (d *dialConfig) grpcOptions(target string) []grpc.DialOption {
	transport := insecure.NewCredentials()
	if d.tls != nil {
		transport = credentials.NewTLS(d.tls)
	}
	opts := []grpc.DialOption{grpc.WithTransportCredentials(transport), grpc.WithConnectParams(connectParams)}
	if !isUnix(target) {
		opts = append(opts, grpc.WithKeepaliveParams(keepaliveParams))
	}
	if d.token != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer{d.token, d.tls != nil}))
	}
	return append(opts, d.grpc...)
}

// bearer sends a token with each call.
type bearer struct {
	token  string
	secure bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.secure }

// isUnix reports whether target is a Unix socket. net.SplitHostPort would accept
// "unix:///path" as a host and a port.
func isUnix(target string) bool {
	return strings.HasPrefix(target, "unix:") || strings.HasPrefix(target, "unix-abstract:")
}

// isLocal reports whether traffic to target certainly stays on this machine: target is a
// Unix socket, or localhost or a loopback address with or without a port. It is false for
// other schemes, which only gRPC resolves.
func isLocal(target string) bool {
	if isUnix(target) {
		return true
	}
	target = strings.TrimPrefix(strings.TrimPrefix(target, "dns:///"), "passthrough:///")
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		host = strings.Trim(target, "[]") // without a port
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// ErrClosed reports a call on a client after its Close.
var ErrClosed = errors.New("client is closed")
