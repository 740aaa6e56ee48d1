package component

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/all"
	"github.com/mortise-lock/mortise/test/conformance"
	"github.com/mortise-lock/mortise/test/servers"
)

// testedAPI is a service with the features of a store that its protocol has.
type testedAPI struct {
	name     string
	features []string
	minTTL   time.Duration // long enough for a call on a slow machine
	open     func(conn *grpc.ClientConn, instance string) stores.Store
}

var (
	lockStoreAPI = testedAPI{"LockStore", []string{"FENCING", "PING"}, time.Second,
		func(conn *grpc.ClientConn, instance string) stores.Store {
			return conformance.NewRemoteLockStore(conn, instance)
		}}
	locksAPI = testedAPI{"Locks", []string{"FENCING", "LIST", "MULTI", "RENEW", "REVOKE", "WAIT", "WATCH"}, 100 * time.Millisecond,
		func(conn *grpc.ClientConn, instance string) stores.Store {
			return conformance.NewRemoteLocks(conn, instance)
		}}
)

// harness returns the harness of any store behind the API.
func (a testedAPI) harness(storage func(t testing.TB) func() stores.Store) conformance.Harness {
	return conformance.Harness{
		Storage:  storage,
		Features: a.features,
		MinTTL:   a.minTTL,
		Slack:    300 * time.Millisecond,
		Settle:   2 * time.Second,
		UTF8:     true,
		Checked:  true,
	}
}

// TestConformance runs the suites one after the other, beside other tests that only wait:
// rows whose leases are short fail if several suites keep a small machine busy.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, a := range []testedAPI{lockStoreAPI, locksAPI} {
		t.Run(a.name+" with memory in a bubble", a.testMemoryInBubble)
		t.Run(a.name+" with Redis over the socket", a.testRedisOverSocket)
	}
	t.Run("Locks with memory over TCP", locksAPI.testMemoryOverTCP)
}

func (a testedAPI) testMemoryInBubble(t *testing.T) {
	h := a.harness(func(t testing.TB) func() stores.Store {
		l, s := bufconn.Listen(1<<16), openServices(t, map[string]string{"store": "memory"})
		serveOn(t, socketServer(s), s.set.Listener(l))
		return a.clients(t, "passthrough:///memory", insecure.NewCredentials(),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	})
	// Bubbles work with a bufconn, but not with a real socket.
	h.Bubble, h.Slack = true, 0
	conformance.Run(t, h)
}

func (a testedAPI) testRedisOverSocket(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := openServices(t, map[string]string{"store": "redis", "redisHost": servers.StartRedis(t).Addr})
	serveOn(t, socketServer(s), s.set.Listener(l))
	conformance.Run(t, a.harness(func(t testing.TB) func() stores.Store {
		return a.clients(t, "unix:"+l.Addr().String(), insecure.NewCredentials())
	}))
}

func (a testedAPI) testMemoryOverTCP(t *testing.T) {
	certificate := servers.NewCertificate(t)
	addr := serveTCP(t, openServices(t, map[string]string{"store": "memory"}), TCPOptions{
		Address: "127.0.0.1:0", CertFile: certificate.File, KeyFile: certificate.KeyFile, ClientCAFile: certificate.File, Token: "secret",
	})
	conformance.Run(t, a.harness(func(t testing.TB) func() stores.Store {
		return a.clients(t, addr, credentials.NewTLS(certificate.ClientConfig()), grpc.WithPerRPCCredentials(bearerCredentials("secret")))
	}))
}

// openServices opens component locks and returns its services. They are closed at the end
// of the test.
func openServices(t testing.TB, metadata map[string]string) services {
	t.Helper()
	return openServicesFrom(t, all.Backends("memory"), metadata)
}

// openServicesFrom is openServices with a registry.
func openServicesFrom(t testing.TB, registry *stores.Registry, metadata map[string]string) services {
	t.Helper()
	set := instances.New(registry, discard)
	if err := set.Open(t.Context(), "locks", metadata); err != nil {
		t.Fatal(err)
	}
	s := newServices(set, discard)
	t.Cleanup(func() {
		s.close()
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// serveTCP serves at the only address of the options until the test ends, and returns the
// address with its port.
func serveTCP(t testing.TB, s services, o TCPOptions) string {
	t.Helper()
	n, err := newTCPListeners(o, discard)
	if err != nil {
		t.Fatal(err)
	}
	e := o.endpoints()[0]
	l, err := e.listen(t.Context(), o.AllowInsecure)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, e.server(n, s), l)
	return l.Addr().String()
}

// serveOn serves the listener until the test ends.
func serveOn(t testing.TB, s server, l net.Listener) {
	t.Helper()
	group := &serverGroup{failed: make(chan error, 1)}
	group.start(s, l)
	t.Cleanup(func() {
		group.drain(0)
		select {
		case err := <-group.failed:
			t.Error(err)
		default:
		}
	})
}

// clients returns a function that opens remote stores, each with a connection of its own.
func (a testedAPI) clients(t testing.TB, target string, creds credentials.TransportCredentials, options ...grpc.DialOption) func() stores.Store {
	return func() stores.Store {
		conn, err := grpc.NewClient(target, append(options, grpc.WithTransportCredentials(creds))...)
		if err != nil {
			t.Fatal(err)
		}
		return a.open(conn, "locks")
	}
}

// bearerCredentials is a bearer token that is sent with each call, even without TLS.
type bearerCredentials string

func (b bearerCredentials) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (b bearerCredentials) RequireTransportSecurity() bool { return false }
