package component

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores/all"
	"github.com/mortise-lock/mortise/test/servers"
)

var (
	discard  = logger.NewLogger("test")
	loopback = TCPOptions{Address: "127.0.0.1:0"}
)

// dial connects to a gRPC server on TCP.
func dial(t *testing.T, target string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// serveMemory serves the memory store over TCP and returns the address.
func serveMemory(t *testing.T, o TCPOptions) string {
	t.Helper()
	return serveTCP(t, openServices(t, map[string]string{"store": "memory"}), o)
}

func TestTCPOptions_Check(t *testing.T) {
	certificate := servers.NewCertificate(t)
	secure := func(o TCPOptions) TCPOptions {
		o.CertFile, o.KeyFile = certificate.File, certificate.KeyFile
		return o
	}
	const far, near = "0.0.0.0:0", "127.0.0.1:0"
	const (
		ok     = ""
		noTLS  = " can be reached from other machines, without TLS: --allow-insecure-tcp allows that"
		noAuth = " can be reached from other machines, with neither a token nor client certificates: --allow-insecure-tcp allows that"
	)
	for _, row := range []struct {
		name    string
		options TCPOptions
		want    string // part of the error
	}{
		{"no options", TCPOptions{}, ok},
		{"a token in the environment and no TCP", TCPOptions{Token: "t"}, ok},
		{"plain TCP on 127.0.0.1", TCPOptions{Address: near}, ok},
		{"plain TCP on ::1", TCPOptions{Address: "[::1]:0"}, ok},
		{"plain TCP on localhost", TCPOptions{Address: "localhost:0"}, ok},
		{"plain TCP on all interfaces", TCPOptions{Address: far, Token: "t"}, noTLS},
		{"plain TCP on an unspecified interface", TCPOptions{Address: ":0", Token: "t"}, noTLS},
		{"plain TCP on all interfaces of IPv6", TCPOptions{Address: "[::]:0", Token: "t"}, noTLS},
		{"plain TCP on another address", TCPOptions{Address: "192.0.2.1:0", Token: "t"}, noTLS},
		{"plain TCP on a host name", TCPOptions{Address: "mortise.example:0", Token: "t"}, noTLS},
		{"plain TCP on a name that begins with localhost", TCPOptions{Address: "localhost.example:0", Token: "t"}, noTLS},
		{"TLS without authentication", secure(TCPOptions{Address: far}), noAuth},
		{"TLS with a token of spaces", secure(TCPOptions{Address: far, Token: " "}), "_API_TOKEN must not be empty"},
		{"TLS with a token", secure(TCPOptions{Address: far, Token: "t"}), ok},
		{"TLS with client certificates", secure(TCPOptions{Address: far, ClientCAFile: certificate.File}), ok},
		{"plain TCP on all interfaces, allowed", TCPOptions{Address: far, AllowInsecure: true}, ok},
		{"TLS on all interfaces without authentication, allowed", secure(TCPOptions{Address: far, AllowInsecure: true}), ok},
	} {
		t.Run(row.name, func(t *testing.T) { checkEachFlag(t, row.options, row.want) })
	}
}

func TestTCPOptions_CheckFiles(t *testing.T) {
	certificate := servers.NewCertificate(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secure := func(o TCPOptions) TCPOptions {
		o.CertFile, o.KeyFile = certificate.File, certificate.KeyFile
		return o
	}
	const near = "127.0.0.1:0"
	for _, row := range []struct {
		name    string
		options TCPOptions
		want    string // part of the error
	}{
		{"an address without a port", TCPOptions{Address: "127.0.0.1"}, ": address 127.0.0.1: missing port"},
		{"a token file and no TCP", TCPOptions{TokenFile: empty}, "need an address to listen at"},
		{"a certificate and no TCP", secure(TCPOptions{}), "need an address to listen at"},
		{"a permission and no TCP", TCPOptions{AllowInsecure: true}, "need an address to listen at"},
		{"lock event metrics and no TCP", TCPOptions{LockEventMetrics: true}, "need an address to listen at"},
		{"lock event metrics without metrics", TCPOptions{Address: near, LockEventMetrics: true},
			"--lock-event-metrics needs --metrics-address"},
		{"a certificate without its key", TCPOptions{Address: near, CertFile: certificate.File}, "--tls-key-file"},
		{"a key without its certificate", TCPOptions{Address: near, KeyFile: certificate.KeyFile}, "--tls-cert-file"},
		{"client certificates without TLS", TCPOptions{Address: near, ClientCAFile: certificate.File}, "--tls-cert-file"},
		{"a certificate that does not exist", TCPOptions{Address: near, CertFile: "/no", KeyFile: "/no"}, "--tls-cert-file: open /no"},
		{"a client CA that does not exist", secure(TCPOptions{Address: near, ClientCAFile: "/no"}), "--tls-client-ca-file: open /no"},
		{"an empty client CA", secure(TCPOptions{Address: near, ClientCAFile: empty}), "contains no certificate"},
		{"a token file that does not exist", TCPOptions{Address: near, TokenFile: "/no"}, "--token-file: open /no"},
		{"an empty token file", TCPOptions{Address: near, TokenFile: empty}, "must not be empty"},
		{"a token that cannot be sent", TCPOptions{Address: near, Token: "se\ncret"}, "printable ASCII"},
	} {
		t.Run(row.name, func(t *testing.T) { checkEachFlag(t, row.options, row.want) })
	}
}

// checkEachFlag checks the options of each endpoint. A text that begins with a space
// follows the flag and the address, and one with a colon the flag.
func checkEachFlag(t *testing.T, o TCPOptions, text string) {
	t.Helper()
	for flag, at := range optionsByFlag {
		want := text
		switch {
		case strings.HasPrefix(want, " "):
			want = flag + " " + o.Address + want
		case strings.HasPrefix(want, ": "):
			want = flag + want
		}
		checkTCPOptions(t, at(o), want)
	}
}

// optionsByFlag has functions that move the address and the token of options to those of
// another flag.
var optionsByFlag = map[string]func(TCPOptions) TCPOptions{
	"--listen-address": func(o TCPOptions) TCPOptions { return o },
	"--http-listen-address": func(o TCPOptions) TCPOptions {
		o.Address, o.HTTPAddress = "", o.Address
		return o
	},
	"--dapr-grpc-listen-address": func(o TCPOptions) TCPOptions {
		o.Address, o.Token, o.Dapr.GRPCAddress, o.Dapr.Token = "", "", o.Address, o.Token
		return o
	},
	"--dapr-http-listen-address": func(o TCPOptions) TCPOptions {
		o.Address, o.Token, o.Dapr.HTTPAddress, o.Dapr.Token = "", "", o.Address, o.Token
		return o
	},
}

func TestTCPOptions_TokenOfOtherEndpoint(t *testing.T) {
	const far, want = "0.0.0.0:0", "with neither a token nor client certificates"
	certificate := servers.NewCertificate(t)
	for flag, at := range optionsByFlag {
		o := at(TCPOptions{Address: far, Token: "t", CertFile: certificate.File, KeyFile: certificate.KeyFile})
		checkTCPOptions(t, o, "")
		o.Token, o.Dapr.Token = o.Dapr.Token, o.Token
		checkTCPOptions(t, o, flag+" "+far+" can be reached from other machines, "+want)
	}
}

func TestEndpoint_CheckBound(t *testing.T) {
	for _, row := range []struct {
		name, address, ip, want string
	}{
		{"localhost as a loopback address", "localhost:1", "127.0.0.1", ""},
		{"localhost as a loopback address of IPv6", "localhost:1", "::1", ""},
		{"localhost as another address", "localhost:1", "192.0.2.1",
			"--x localhost:1 can be reached from other machines, because it resolves to 192.0.2.1:1: --allow-insecure-tcp allows that"},
		{"localhost as the unspecified address", "localhost:1", "0.0.0.0",
			"--x localhost:1 can be reached from other machines, because it resolves to 0.0.0.0:1: --allow-insecure-tcp allows that"},
		{"another address, which was checked before", "192.0.2.1:1", "192.0.2.1", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := ""
			if err := (endpoint{flag: "--x", address: row.address}).checkBound(&net.TCPAddr{IP: net.ParseIP(row.ip), Port: 1}); err != nil {
				got = err.Error()
			}
			if got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestTCPOptions_ChecksEveryAddress(t *testing.T) {
	const good, bad = "127.0.0.1:0", ":0"
	checkTCPOptions(t, TCPOptions{Address: good, HTTPAddress: "[::1]:0"}, "")
	checkTCPOptions(t, TCPOptions{Address: bad, HTTPAddress: good}, "--listen-address :0 can be reached from other machines")
	checkTCPOptions(t, TCPOptions{Address: good, HTTPAddress: bad}, "--http-listen-address :0 can be reached from other machines")
}

// checkTCPOptions checks that the options are valid, if want is empty, or that their
// error contains want. No error contains the token.
func checkTCPOptions(t *testing.T, o TCPOptions, want string) {
	t.Helper()
	_, err := newTCPListeners(o, discard)
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got %v, want %q", err, want)
	}
	if err != nil && strings.Contains(err.Error(), "cret") {
		t.Errorf("the error contains the token: %v", err)
	}
}

func TestTCPOptions_TokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := TCPOptions{Token: "other", TokenFile: file}.token()
	if got != "secret" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTokenAuth_GRPC(t *testing.T) {
	conn := dial(t, serveMemory(t, TCPOptions{Address: "127.0.0.1:0", Token: "secret"}), insecure.NewCredentials())
	locks := lockspb.NewLocksClient(conn)
	unary := func(ctx context.Context) error {
		_, err := locks.TryLock(ctx, &lockspb.TryLockRequest{Key: "k", Owner: "o", Ttl: hour})
		return err
	}
	stream := func(ctx context.Context) error {
		stream, err := locks.Watch(ctx, &lockspb.WatchRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	for _, row := range []struct {
		name   string
		values []string
		good   bool
	}{
		{"no token", nil, false},
		{"an empty token", []string{""}, false},
		{"an empty token with its scheme", []string{"Bearer "}, false},
		{"a wrong token", []string{"Bearer secreT"}, false},
		{"a shorter token", []string{"Bearer secre"}, false},
		{"a longer token", []string{"Bearer secrets"}, false},
		{"a token without a scheme", []string{"secret"}, false},
		{"a token with another scheme", []string{"Basic secret"}, false},
		{"two tokens, one of them right", []string{"Bearer secret", "Bearer other"}, false},
		{"the right token", []string{"Bearer secret"}, true},
		{"the right token with a lower-case scheme", []string{"bearer secret"}, true},
	} {
		for call, do := range map[string]func(context.Context) error{"unary": unary, "stream": stream} {
			ctx := t.Context()
			for _, value := range row.values {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", value)
			}
			if err := do(ctx); row.good {
				if err != nil {
					t.Errorf("%s with %s: %v", call, row.name, err)
				}
			} else {
				checkReason(t, call+" with "+row.name, err, codes.Unauthenticated, "UNAUTHENTICATED")
			}
		}
	}
	health := healthpb.NewHealthClient(conn)
	if _, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health without a token: %v", err)
	}
	watch, err := health.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	checkReason(t, "health stream without a token", err, codes.Unauthenticated, "UNAUTHENTICATED")
}

func TestTCPListeners_NoLockStore(t *testing.T) {
	conn := dial(t, serveMemory(t, loopback), insecure.NewCredentials())
	_, err := lockpb.NewLockStoreClient(conn).Init(t.Context(), &lockpb.LockStoreInitRequest{Metadata: &daprpb.MetadataRequest{}})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("Init: %v", err)
	}
	want := []string{
		"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
		"mortise.locks.v1.Locks", "mortise.rtm.v1.ChannelLocks",
	}
	if got := listServices(t, conn, "v1"); !slices.Equal(got, want) {
		t.Errorf("reflection lists %v", got)
	}
}

func TestRun_PortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	folder, addr := t.TempDir(), taken.Addr().String()
	for flag, options := range map[string]TCPOptions{
		"--listen-address":      {Address: addr},
		"--http-listen-address": {Address: "127.0.0.1:0", HTTPAddress: addr},
	} {
		_, err = startRun(t, Options{Folder: folder, TCP: options}, all.Backends("memory"))
		if err == nil || !strings.Contains(err.Error(), flag+": listen tcp "+addr+": bind: address already in use") {
			t.Errorf("%s: %v", flag, err)
		}
		if _, err := os.Lstat(filepath.Join(folder, "mortise.sock")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the socket: %v", flag, err)
		}
	}
}

// freePort returns an address with a port that is free.
func freePort(t *testing.T) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	return free.Addr().String()
}

func TestRun_SocketAndTCP(t *testing.T) {
	addr := freePort(t)
	r, err := startRun(t, Options{Folder: t.TempDir(), DrainTimeout: time.Hour, TCP: TCPOptions{Address: addr}}, all.Backends("memory"))
	if err != nil {
		t.Fatal(err)
	}
	if err := initialize(t, lockpb.NewLockStoreClient(r.connect(t)), "a", nil); err != nil {
		t.Fatal(err)
	}
	near, far := lockspb.NewLocksClient(r.connect(t)), lockspb.NewLocksClient(dial(t, addr, insecure.NewCredentials()))
	lockDisk(t, near)
	waiting := waitForDisk(timeoutContext(t), far)
	awaitWaiter(t, near)
	r.stop()
	checkReason(t, "Lock over TCP", <-waiting, codes.Unavailable, "SHUTTING_DOWN")
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		_ = conn.Close()
		t.Error("the port is still open")
	}
}

func TestRun_ShutdownWithSilentConnection(t *testing.T) {
	t.Parallel()
	r := start(t)
	conn, err := net.Dial("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// After its settings the server waits for the client's preface.
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}
