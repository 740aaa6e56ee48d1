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
	"github.com/mortise-lock/mortise/component/rtm"
)

// shuttingDown is what those are told who come too late.
const shuttingDownReason = "Mortise is shutting down"

// httpServer is an HTTP server that can be stopped as one of gRPC can.
type httpServer struct {
	*http.Server
	inflight     inflight
	shuttingDown atomic.Bool
}

// newHTTPServer returns a server on the network that does as s says, for which clients
// need a token or not. Requests that come too late, or for another host, are for refuse.
func newHTTPServer(n *tcpListeners, s *http.Server, token bool, refuse refuseFunc) *httpServer {
	h := &httpServer{Server: s}
	h.Handler = h.inflight.track(n.requireLocalHost(s.Handler, token, refuse), func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, http.StatusServiceUnavailable, shuttingDownReason)
	})
	h.TLSConfig = n.certificates.config("h2", "http/1.1")
	h.ErrorLog = log.New(httpErrorLog{n.log}, "", 0)
	return h
}

// httpServer returns the server for RTM's channel locks over HTTP, and the health beside
// them, for which nobody needs a token.
func (n *tcpListeners) httpServer(s services) server {
	handler := crossOriginProtection(s.telemetry.Handler(telemetry.RTM, rtm.Handler(s.channels)), rtm.Refuse)
	mux := http.NewServeMux()
	mux.Handle("/", n.requireToken(handler, rtm.Refuse))
	h := newHTTPServer(n, newLimitedServer(mux), n.auth != nil, rtm.Refuse)
	mux.HandleFunc("GET /healthz", h.health)
	return h
}

// metricsServer returns the server for metrics over HTTP, and the health of all beside
// them, for which nobody needs a token.
func (n *tcpListeners) metricsServer(s services) server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", n.requireToken(s.telemetry.Metrics.Handler(), refuseAsText))
	mux.Handle("GET /healthz", s.telemetry.Health)
	return newHTTPServer(n, newLimitedServer(mux), n.auth != nil, refuseAsText)
}

// bounded returns a server with the handler, and bounds for what clients may send and how
// long they may take.
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

// health tells that the process lives, and wants to be asked.
func (s *httpServer) health(w http.ResponseWriter, _ *http.Request) {
	code := http.StatusNoContent
	if s.shuttingDown.Load() {
		code = http.StatusServiceUnavailable
	}
	w.WriteHeader(code)
}

func (s *httpServer) notReady() { s.shuttingDown.Store(true) }

// Serve serves the listener until the server is stopped.
func (s *httpServer) Serve(l net.Listener) error {
	if s.TLSConfig != nil {
		return s.Server.ServeTLS(l, "", "")
	}
	return s.Server.Serve(l)
}

// GracefulStop takes no more connections, and returns when the requests under way are
// answered.
func (s *httpServer) GracefulStop() {
	_ = s.Shutdown(context.Background()) // whose only other errors are those of closing listeners
	s.inflight.drain()
}

// Stop ends all connections, and waits for the requests that it cancels by that.
func (s *httpServer) Stop() {
	_ = s.Close()
	s.inflight.drain()
}

// requests are those under way. Package http does not wait for all of them when it is
// stopped.
type inflight struct {
	running sync.WaitGroup
	mu      sync.Mutex
	closed  bool
}

// count counts the requests that next handles. Those after the end are for refuse.
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

func (q *inflight) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.running.Add(1)
	}
	return !q.closed
}

// end lets no more requests in, and waits for those that are.
func (q *inflight) drain() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.running.Wait()
}

// warnings are what package http has to tell, line by line: handlers that panic, files
// that cannot be opened.
type httpErrorLog struct{ logger.Logger }

// Write logs a line. Clients that cannot agree on TLS are for those who look for them:
// anybody can connect, any number of times.
func (w httpErrorLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if strings.HasPrefix(text, "http: TLS handshake error") {
		w.Debug(text)
	} else {
		w.Warn(text)
	}
	return len(line), nil
}
