package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/test/servers"
)

func TestDial_Options(t *testing.T) {
	for _, row := range []struct {
		target string
		opts   []client.DialOption
		want   string // or nothing
	}{
		{"unix:///run/mortise.sock", nil, ""},
		{"unix:///run/mortise.sock", []client.DialOption{client.BearerToken("x")}, ""},
		{"127.0.0.1:4000", []client.DialOption{client.BearerToken("x")}, ""},
		{"[::1]:4000", []client.DialOption{client.BearerToken("x")}, ""},
		{"localhost:4000", []client.DialOption{client.BearerToken("x")}, ""},
		{"mortise:4000", nil, ""},
		{"mortise:4000", []client.DialOption{client.BearerToken("x"), client.TLS(nil)}, ""},
		{"mortise:4000", []client.DialOption{client.BearerToken("x")}, `mortise: dial "mortise:4000": a bearer token requires TLS, a Unix socket or a loopback address`},
		{"mortise", []client.DialOption{client.BearerToken("x")}, "requires TLS"},
		{"dns:///mortise:4000", []client.DialOption{client.BearerToken("x")}, "requires TLS"},
		{"dns://8.8.8.8/mortise", []client.DialOption{client.BearerToken("x")}, "requires TLS"},
		{"2001:db8::1", []client.DialOption{client.BearerToken("x")}, "requires TLS"},
		{"abcd::1", []client.DialOption{client.BearerToken("x")}, "requires TLS"},
		{"dns:///2001:db8::1", []client.DialOption{client.BearerToken("x")}, "requires TLS"},
		{"[2001:db8::1]:4000", []client.DialOption{client.BearerToken("x")}, "requires TLS"},
		{"passthrough:///10.0.0.1:4000", []client.DialOption{client.BearerToken("x")}, "requires TLS"},
		{"passthrough:///mortise:4000", []client.DialOption{client.BearerToken("x")}, "requires TLS"},
		{"passthrough:10.0.0.1:4000", []client.DialOption{client.BearerToken("x")}, "requires TLS"},
		{"", []client.DialOption{client.BearerToken("x")}, "requires TLS"},
		{"passthrough:///localhost", []client.DialOption{client.BearerToken("x")}, ""},
		{"dns:///127.0.0.1:4000", []client.DialOption{client.BearerToken("x")}, ""},
		{"::1", []client.DialOption{client.BearerToken("x")}, ""},
		{"[::1]", []client.DialOption{client.BearerToken("x")}, ""},
		{"unix-abstract:mortise", []client.DialOption{client.BearerToken("x")}, ""},
		{"localhost:4000", []client.DialOption{client.Namespace("a:b")}, `mortise: dial "localhost:4000": namespace must not contain a colon, got "a:b"`},
		{"localhost:4000", []client.DialOption{client.Tenant("")}, "tenant must not be empty"},
	} {
		c, err := client.Dial(row.target, row.opts...)
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("Dial(%q) returned %v, want %q", row.target, err, row.want)
		}
		if err == nil {
			c.Close()
		}
	}
}

func TestClient_RealSockets(t *testing.T) {
	server, clients := tlsConfigs(t)
	for _, row := range []struct {
		name, network, address string
		server                 []grpc.ServerOption
		client                 []client.DialOption
	}{
		{"unix", "unix", filepath.Join(t.TempDir(), "m"), nil, nil},
		{"tcp", "tcp", "127.0.0.1:0", nil, nil},
		{"tcp with TLS", "tcp", "127.0.0.1:0", []grpc.ServerOption{grpc.Creds(credentials.NewTLS(server))}, []client.DialOption{client.TLS(clients)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, err := net.Listen(row.network, row.address)
			if err != nil {
				t.Fatal(err)
			}
			s := grpc.NewServer(append(row.server, grpc.UnaryInterceptor(requireToken))...)
			newMortise().serve(s)
			served := make(chan error)
			go func() { served <- s.Serve(l) }()
			defer func() { s.Stop(); <-served }()
			target := l.Addr().String()
			if row.network == "unix" {
				target = "unix://" + target
			}
			checkConnection(t, target, row.client)
		})
	}
}

func checkConnection(t *testing.T, target string, opts []client.DialOption) {
	t.Helper()
	unauthorized, err := client.Dial(target, append([]client.DialOption{client.BearerToken("wrong")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer unauthorized.Close()
	if _, err := unauthorized.Lock(t.Context(), "disk"); status.Code(err) != codes.Unauthenticated {
		t.Errorf("with a wrong token Lock returned %v", err)
	}
	c, err := client.Dial(target, append([]client.DialOption{client.BearerToken("secret")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := client.Do(t.Context(), c, "disk", func(ctx context.Context) (int, error) {
		if _, err := c.TryLock(ctx, "disk"); !errors.Is(err, client.ErrLocked) {
			t.Errorf("TryLock returned %v, want ErrLocked", err)
		}
		return 42, ctx.Err()
	})
	if got != 42 || err != nil {
		t.Errorf("Do returned %d, %v", got, err)
	}
}

func requireToken(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if got := metadata.ValueFromIncomingContext(ctx, "authorization"); len(got) != 1 || got[0] != "Bearer secret" {
		return nil, status.Error(codes.Unauthenticated, "the token is wrong")
	}
	return handler(ctx, req)
}

// tlsConfigs returns TLS configurations of a server on this machine and of its clients.
func tlsConfigs(t *testing.T) (server, clients *tls.Config) {
	t.Helper()
	c := servers.NewCertificate(t)
	pair, err := tls.X509KeyPair([]byte(c.PEM), []byte(c.KeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.PEM))
	return &tls.Config{Certificates: []tls.Certificate{pair}}, &tls.Config{RootCAs: roots}
}
