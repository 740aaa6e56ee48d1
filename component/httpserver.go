package component

import (
	"context"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/component/internal/telemetry"
	"github.com/mortise-lock/mortise/component/rtm/rtmhttp"
)

// shuttingDownReason is the reason for refusing requests during shutdown.
const shuttingDownReason = "Mortise is shutting down"

// httpServer is an HTTP server that is stopped like a gRPC server.
type httpServer struct {
	*http.Server
	inflight     inflight
	shuttingDown atomic.Bool
}

// newHTTPServer returns s with the TLS configuration of the listeners and with the
// handlers that count requests and check their Host header. needsToken is whether clients
// need a token. refuse responds to requests for another host or during shutdown.
func newHTTPServer(n *tcpListeners, s *http.Server, needsToken bool, refuse refuseFunc) *httpServer {
	h := &httpServer{Server: s}
	h.Handler = h.inflight.track(n.requireLocalHost(s.Handler, needsToken, refuse), func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, http.StatusServiceUnavailable, shuttingDownReason)
	})
	h.TLSConfig = n.certificates.config("h2", "http/1.1")
	h.ErrorLog = log.New(httpErrorLog{n.log}, "", 0)
	return h
}

// httpServer returns the server for RTM's channel locks over HTTP. It also serves the
// health of the process, without a token.
func (n *tcpListeners) httpServer(s services) server {
	handler := crossOriginProtection(s.telemetry.Handler(telemetry.RTM, rtmhttp.Handler(s.channels)), rtmhttp.Refuse)
	mux := http.NewServeMux()
	mux.Handle("/", n.requireToken(handler, rtmhttp.Refuse))
	h := newHTTPServer(n, newLimitedServer(mux), n.auth != nil, rtmhttp.Refuse)
	mux.HandleFunc("GET /healthz", h.health)
	return h
}

// metricsServer returns the server for metrics. It also serves the health of the process
// and of all components, without a token.
func (n *tcpListeners) metricsServer(s services) server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", n.requireToken(s.telemetry.Metrics.Handler(), refuseAsText))
	mux.Handle("GET /healthz", s.telemetry.Health)
	return newHTTPServer(n, newLimitedServer(mux), n.auth != nil, refuseAsText)
}

// newLimitedServer returns a server with the handler that limits the size of requests and
// the time for reading a request and for writing a response.
func newLimitedServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: requestTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxCalls, WriteByteTimeout: requestTimeout},
	}
}

// health responds with 204, or with 503 during shutdown.
func (s *httpServer) health(w http.ResponseWriter, _ *http.Request) {
	code := http.StatusNoContent
	if s.shuttingDown.Load() {
		code = http.StatusServiceUnavailable
	}
	w.WriteHeader(code)
}

func (s *httpServer) notReady() { s.shuttingDown.Store(true) }

// Serve serves the listener until the server is stopped or fails.
func (s *httpServer) Serve(l net.Listener) error {
	if s.TLSConfig != nil {
		return s.Server.ServeTLS(l, "", "")
	}
	return s.Server.Serve(l)
}

// GracefulStop accepts no more connections, and returns when the requests in progress
// have finished.
func (s *httpServer) GracefulStop() {
	_ = s.Shutdown(context.Background()) // fails only if closing a listener fails
	s.inflight.drain()
}

// Stop closes all connections and waits for the requests that it cancels by that.
func (s *httpServer) Stop() {
	_ = s.Close()
	s.inflight.drain()
}

// inflight counts the requests in progress, because http.Server.Close does not wait for
// them.
type inflight struct {
	running sync.WaitGroup
	mu      sync.Mutex
	closed  bool
}

// track returns a handler that counts the requests to next. After drain it calls refuse.
func (q *inflight) track(next http.Handler, refuse http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !q.begin() {
			refuse(w, r)
			return
		}
		defer q.running.Done()
		next.ServeHTTP(w, r)
	})
}

// begin counts a request, or returns false after drain.
func (q *inflight) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.running.Add(1)
	}
	return !q.closed
}

// drain refuses new requests and waits for those in progress.
func (q *inflight) drain() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.running.Wait()
}

// httpErrorLog receives the error log of net/http, line by line: panics of handlers and
// failures to accept connections.
type httpErrorLog struct{ logger.Logger }

// Write logs a line as a warning. TLS handshake failures are logged at debug level,
// because any client can cause them.
func (w httpErrorLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if strings.HasPrefix(text, "http: TLS handshake error") {
		w.Debug(text)
	} else {
		w.Warn(text)
	}
	return len(line), nil
}
