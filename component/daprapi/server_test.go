package daprapi

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

// dial serves the API and the health service over gRPC, and returns a connection to the
// server.
func dial(t *testing.T, a *API) *grpc.ClientConn {
	t.Helper()
	server, l := grpc.NewServer(a.ServerOptions()...), bufconn.Listen(1<<16)
	a.Register(server)
	healthpb.RegisterHealthServer(server, health.NewServer())
	serve(t, server.Serve, server.Stop, l)
	conn, err := grpc.NewClient("passthrough:///API", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// serve serves until the test ends.
func serve(t *testing.T, serve func(net.Listener) error, stop func(), l net.Listener) {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- serve(l) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

func TestGRPC_HealthNeedsNoToken(t *testing.T) {
	conn := dial(t, newAPI(t, Options{Token: "open sesame"}))
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	_, err := runtimepb.NewDaprClient(conn).GetMetadata(t.Context(), &runtimepb.GetMetadataRequest{})
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("metadata: %v, want Unauthenticated", err)
	}
}

func TestHTTPServer_Protocols(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newAPI(t, Options{AppID: "app"}).HTTPServer()
	serve(t, server.Serve, func() { _ = server.Close() }, l)
	for major, set := range map[int]func(*http.Protocols){
		1: func(p *http.Protocols) { p.SetHTTP1(true) },
		2: func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		set(transport.Protocols)
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get("http://" + l.Addr().String() + "/v1.0/metadata")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var got struct{ ID string }
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || resp.ProtoMajor != major || got.ID != "app" {
			t.Errorf("HTTP/%d: got %v over %s, %v", major, got, resp.Proto, err)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("POST", "/v1.0-alpha1/lock/locks", `{"resourceId":"a","lockOwner":"b","expiryInSeconds":"60"}`)
	f.Add("POST", "//v1.0-alpha1/./unlock/lo%63ks/", `{"resource_id":"a||b","lock_owner":"b"}`)
	f.Add("GET", "/v1.0/metadata", "")
	f.Add("GET", "/v1.0/healthz?appid=%3b&;", "[")
	f.Add("FOO", "/v1.0/state/%2f%2F+", "\xff")
	a := newAPI(f, Options{AppID: "app"})
	f.Fuzz(func(t *testing.T, method, path, body string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Skip("net/http refuses the path")
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://API/", strings.NewReader(body))
		if err != nil {
			t.Skip("net/http refuses the method")
		}
		r.URL = u
		code, response := request(a, r)
		if empty := code == http.StatusNoContent; empty != (response == "") || !empty && !json.Valid([]byte(response)) {
			t.Errorf("%s %q with %q: got %d %q", method, path, body, code, response)
		}
	})
}
