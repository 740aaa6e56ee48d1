package component

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores/all"
	"github.com/mortise-lock/mortise/test/servers"
)

func TestTokenAuth_HTTP(t *testing.T) {
	s := newHTTPTestClient(t, TCPOptions{Token: "secret"})
	s.token = ""
	for _, row := range []struct {
		name   string
		values []string
		good   bool
	}{
		{"no token", nil, false},
		{"an empty token", []string{""}, false},
		{"a wrong token", []string{"Bearer secreT"}, false},
		{"a longer token", []string{"Bearer secrets"}, false},
		{"a token with another scheme", []string{"Basic secret"}, false},
		{"two tokens, one of them right", []string{"Bearer secret", "Bearer other"}, false},
		{"the right token", []string{"Bearer secret"}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			for method, path := range map[string]string{"POST": "setLock", "GET": "subscribe?user=u", "DELETE": "nothing"} {
				r := s.request(t.Context(), method, path, "{}")
				r.Header["Authorization"] = row.values
				got := s.do(t, r)
				if refused := got.code == http.StatusUnauthorized && got.errorCode == -10005; refused == row.good {
					t.Errorf("%s %s: %d %s", method, path, got.code, got.body)
				} else if refused && got.header.Get("WWW-Authenticate") != "Bearer" {
					t.Errorf("%s %s: %v", method, path, got.header)
				}
			}
		})
	}
	got := s.post(t, "setLock", "{}")
	if got.operation != "RTMSetLockOperation" || !strings.Contains(got.reason, "bearer token is missing or wrong") {
		t.Errorf("the response is %s", got.body)
	}
}

func TestTokenAuth_HTTPHealth(t *testing.T) {
	s := newHTTPTestClient(t, TCPOptions{Token: "secret"})
	response, err := s.client.Get(s.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, response); got.code != http.StatusNoContent || got.body != "" {
		t.Errorf("%d %s", got.code, got.body)
	}
}

func TestHTTPServer_TLS(t *testing.T) {
	certificate, stranger := servers.NewCertificate(t), servers.NewCertificate(t)
	s := newHTTPTestClient(t, TCPOptions{
		CertFile: certificate.File, KeyFile: certificate.KeyFile, ClientCAFile: certificate.File, Token: "secret",
	})
	s.url = strings.Replace(s.url, "http://", "https://", 1)
	for _, row := range []struct {
		name, proto string
		change      func(*http.Transport)
	}{
		{"version 1", "HTTP/1.1", func(*http.Transport) {}},
		{"version 2", "HTTP/2.0", func(h *http.Transport) { h.ForceAttemptHTTP2 = true }},
		{"without a client's certificate", "", func(h *http.Transport) { h.TLSClientConfig.Certificates = nil }},
		{"with a certificate of another CA", "", func(h *http.Transport) { h.TLSClientConfig.Certificates = stranger.ClientConfig().Certificates }},
		{"with old TLS", "", func(h *http.Transport) { h.TLSClientConfig.MaxVersion = 0x0303 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			transport := transport(t)
			transport.TLSClientConfig = certificate.ClientConfig()
			row.change(transport)
			s.client = &http.Client{Transport: transport}
			response, err := s.client.Do(s.request(t.Context(), http.MethodPost, "getLock", `{"user":"u","channel":"c","channelType":1}`))
			if row.proto == "" {
				if err == nil {
					_ = response.Body.Close()
					t.Errorf("status %d, want a failed handshake", response.StatusCode)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, response); got.code != http.StatusOK || got.proto != row.proto {
				t.Errorf("%s %d %s", got.proto, got.code, got.body)
			}
			s.checkLockLifecycle(t)
		})
	}
	s.client, s.url = &http.Client{Transport: transport(t)}, strings.Replace(s.url, "https://", "http://", 1)
	if got := s.post(t, "getLock", "{}"); got.code != http.StatusBadRequest || got.errorCode != 0 {
		t.Errorf("without TLS: %d %s", got.code, got.body)
	}
}

// checkLockLifecycle sets a lock, passes it from ann to bob, removes it, and checks the
// events of a subscriber.
func (s httpTestClient) checkLockLifecycle(t *testing.T) {
	t.Helper()
	stream := s.subscribe(t, "subscribe?user=eve&channel=c&channelType=MESSAGE")
	s.must(t, "setLock", byAnn)
	s.must(t, "acquireLock", byAnn)
	waited := make(chan httpResponse, 1)
	go func() { waited <- s.post(t, "acquireLock", byBob) }()
	s.awaitWaiter(t)
	s.must(t, "releaseLock", byAnn)
	if got := <-waited; got.code != http.StatusOK {
		t.Errorf("response to bob is %d %s", got.code, got.body)
	}
	s.must(t, "removeLock", byAnn)
	for _, want := range []string{"SET", "ACQUIRED ann", "RELEASED ann", "ACQUIRED bob", "REMOVED bob"} {
		name, data := stream.next()
		kind, owner, _ := strings.Cut(want, " ")
		if name != kind || !strings.Contains(data, fmt.Sprintf(`"owner":%q`, owner)) {
			t.Errorf("event is %s %s, want %s", name, data, want)
		}
	}
}

func TestLimits_LargeRequests(t *testing.T) {
	s := newHTTPTestClient(t, TCPOptions{Token: "secret"})
	// The server reads the body to its end, so no reset can overtake the response.
	large := strings.Repeat(" ", 64<<10) + "{"
	if got := s.post(t, "getLock", large); got.code != http.StatusRequestEntityTooLarge || got.errorCode != -10014 {
		t.Errorf("a large body: %d %s", got.code, got.body)
	}
	r := s.request(t.Context(), http.MethodPost, "getLock", "{}")
	r.Header.Set("X-Large", strings.Repeat("x", maxHeader+8<<10))
	response, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	// The body ends with a reset, because the server has not read the whole header.
	_ = response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a large header: %d", response.StatusCode)
	}
	s.token = "wrong"
	if got := s.post(t, "getLock", large); got.code != http.StatusUnauthorized {
		t.Errorf("a large body without a token: %d %s", got.code, got.body)
	}
}

// blockingStreams keeps every stream open until its client disconnects. It reports when a
// stream has started and ended.
type blockingStreams struct {
	rtmpb.UnimplementedChannelLocksServer
	started, ended chan struct{}
}

func newBlockingStreams() blockingStreams {
	return blockingStreams{started: make(chan struct{}), ended: make(chan struct{}, 1)}
}

func (s blockingStreams) Subscribe(_ *rtmpb.SubscribeRequest, stream grpc.ServerStreamingServer[rtmpb.LockEvent]) error {
	defer func() { s.ended <- struct{}{} }()
	if err := stream.Send(&rtmpb.LockEvent{EventType: rtmpb.LockEvent_SNAPSHOT}); err != nil {
		return err
	}
	close(s.started)
	<-stream.Context().Done()
	return stream.Context().Err()
}

func TestHTTPServer_StreamEndsWithConnection(t *testing.T) {
	streams := newBlockingStreams()
	addr := serveTCP(t, services{channels: streams}, TCPOptions{HTTPAddress: "127.0.0.1:0"})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /v1/rtm/s/subscribe HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-streams.started
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil { // closing sends a reset
		t.Fatal(err)
	}
	_ = conn.Close()
	select {
	case <-streams.ended:
	case <-time.After(10 * time.Second):
		t.Error("the stream has not ended")
	}
}

func TestHTTPServer_Stop(t *testing.T) {
	streams := newBlockingStreams()
	n, err := newTCPListeners(TCPOptions{}, discard)
	if err != nil {
		t.Fatal(err)
	}
	server, l := n.httpServer(services{channels: streams}), bufconn.Listen(1<<10)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	conn, err := l.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /v1/rtm/s/subscribe HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-streams.started
	server.Stop()
	select {
	case <-streams.ended:
	default:
		t.Error("the stream has not ended when Stop returns")
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

func TestLimits_SlowHTTPClients(t *testing.T) {
	const post = "POST /v1/rtm/s/getLock HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer "
	for _, row := range []struct {
		name         string
		first, later string // what the client sends at once, and then each second
		code         string // status of the response
		after        time.Duration
	}{
		{"a client that sends nothing", "", "", "", requestTimeout},
		{"an incomplete header", "POST /v1/rtm/s/getLock HTTP/1.1\r\n", "", "", requestTimeout},
		{"an endless header", "POST /v1/rtm/s/getLock HTTP/1.1\r\n", "X: y\r\n", "", requestTimeout},
		{"an endless body", post + "secret\r\nContent-Length: 100\r\n\r\n", " ", "408 Request Timeout", requestTimeout},
		{"an endless body without the token", post + "wrong\r\nContent-Length: 100\r\n\r\n", " ", "401 Unauthorized", requestTimeout},
		{"an idle connection", post + "secret\r\nContent-Length: 1\r\n\r\n{", "", "400 Bad Request", idleTimeout},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, err := newTCPListeners(TCPOptions{HTTPAddress: "127.0.0.1:0", Token: "secret"}, discard)
				if err != nil {
					t.Fatal(err)
				}
				l := bufconn.Listen(1 << 16)
				serveOn(t, n.httpServer(services{channels: newBlockingStreams()}), l)
				conn, err := l.DialContext(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				sendSlowly(t, conn, row.first, row.later)
				response, _ := io.ReadAll(conn)
				status, _, _ := strings.Cut(string(response), "\r\n")
				if took := time.Since(start); took != row.after || strings.TrimPrefix(status, "HTTP/1.1 ") != row.code {
					t.Errorf("closed after %v with response %q", took, response)
				}
			})
		})
	}
}

// sendSlowly sends first at once, and later each second, until the connection is closed.
func sendSlowly(t *testing.T, conn net.Conn, first, later string) {
	t.Helper()
	if _, err := io.WriteString(conn, first); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.Tick(time.Second); later != ""; <-tick {
			if _, err := io.WriteString(conn, later); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
}

func TestRun_ShutdownEndsHTTPWaits(t *testing.T) {
	file := filepath.Join(t.TempDir(), "locks.yaml")
	if err := os.WriteFile(file, []byte(componentHead), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freePort(t)
	r, err := startRun(t, Options{
		Folder: t.TempDir(), DrainTimeout: time.Hour, ResourcePaths: []string{file}, TCP: TCPOptions{HTTPAddress: addr},
	}, all.Backends("memory"))
	if err != nil {
		t.Fatal(err)
	}
	s := httpTestClient{&http.Client{Transport: transport(t)}, "http://" + addr, ""}
	streams := []eventStream{
		s.subscribe(t, "subscribe?user=eve&channel=c&channelType=MESSAGE"), s.subscribe(t, "session?user=eve"),
	}
	s.must(t, "setLock", byAnn)
	s.must(t, "acquireLock", byAnn)
	waited := make(chan httpResponse, 1)
	go func() { waited <- s.post(t, "acquireLock", byBob) }()
	s.awaitWaiter(t)
	r.stop()
	if got := <-waited; got.code != http.StatusServiceUnavailable || got.errorCode != -14009 {
		t.Errorf("response to the waiter is %d %s", got.code, got.body)
	}
	for _, e := range streams {
		var last string
		for name, data := e.next(); name != ""; name, data = e.next() {
			last = name + data
		}
		if !strings.HasPrefix(last, `ERROR{"errorCode":-14009,`) {
			t.Errorf("the last event is %s", last)
		}
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}
