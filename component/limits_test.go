package component

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mortise-lock/mortise/component/daprapi"
	"github.com/mortise-lock/mortise/test/servers"
)

func TestConnectionShare(t *testing.T) {
	for _, row := range []struct {
		name             string
		files, endpoints uint64
		want             int
	}{
		{"plenty", 1 << 20, 4, maxConnections},
		{"no limit", 1<<64 - 1, 1, maxConnections},
		{"few for all", 1024, 4, 192},
		{"few for one", 1024, 1, 768},
		{"fewer than endpoints", 2, 4, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := connectionShare(row.files, row.endpoints); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}

// serverConstructors construct the servers of all endpoints, by what they serve.
var serverConstructors = map[string]func(*tcpListeners, services) server{
	"gRPC": (*tcpListeners).grpcServer, "Dapr's gRPC": (*tcpListeners).daprGRPCServer,
	"HTTP": (*tcpListeners).httpServer, "Dapr's HTTP": (*tcpListeners).daprHTTPServer,
}

// newMemoryServices returns what serverConstructors need, with a memory store.
func newMemoryServices(t *testing.T, o TCPOptions) (*tcpListeners, services) {
	t.Helper()
	n, err := newTCPListeners(o, discard)
	if err != nil {
		t.Fatal(err)
	}
	s := openServices(t, map[string]string{"store": "memory"})
	o.Dapr.AppID, o.Dapr.HTTPAddress = "app", "127.0.0.1:0"
	if s.sidecarless, err = newSidecarlessAPIs(o.Dapr, []daprapi.Component{{Name: "locks"}}, s); err != nil {
		t.Fatal(err)
	}
	return n, s
}

// connectTo serves the memory store through the API, over a bufconn, and connects to it.
func connectTo(t *testing.T, api string, o TCPOptions) net.Conn {
	t.Helper()
	n, s := newMemoryServices(t, o)
	l := bufconn.Listen(1 << 16)
	serveOn(t, serverConstructors[api](n, s), l)
	conn, err := l.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// isAbout reports whether something took as long as it should on a busy machine. gRPC
// servers do not run in a bubble, because there the timers of their connections sometimes
// crash the race detector (golang/go#78156).
func isAbout(took, want time.Duration) bool { return took >= want && took < want+5*time.Second }

func TestLimits_SlowTLSHandshake(t *testing.T) {
	t.Parallel()
	certificate := servers.NewCertificate(t)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for sends, name := range map[string]string{"": "no data", "\x16\x03\x01\x02\x00\x01": "an incomplete ClientHello"} {
		for api, timeout := range map[string]time.Duration{
			"gRPC": handshakeTimeout, "Dapr's gRPC": handshakeTimeout, "HTTP": requestTimeout, "Dapr's HTTP": requestTimeout,
		} {
			start := time.Now() // before the server's timer starts
			conn := connectTo(t, api, TCPOptions{Address: "127.0.0.1:0", CertFile: certificate.File, KeyFile: certificate.KeyFile})
			sendSlowly(t, conn, sends, "")
			waiting.Go(func() {
				response, _ := io.ReadAll(conn)
				if took := time.Since(start); !isAbout(took, timeout) {
					t.Errorf("%s with %s: closed after %v with response %q", api, name, took, response)
				}
			})
		}
	}
}

func TestLimits_SlowDaprHTTPClients(t *testing.T) {
	const post = "POST /v1.0-alpha1/lock/locks HTTP/1.1\r\nHost: localhost\r\n"
	for _, row := range []struct {
		name         string
		first, later string // what the client sends at once, and then each second
		code         string // status of the response
		after        time.Duration
	}{
		{"a client that sends nothing", "", "", "", requestTimeout},
		{"an endless header", post, "X: y\r\n", "", requestTimeout},
		{"an endless body", post + "Content-Length: 100\r\n\r\n", " ", "400 Bad Request", 3 * requestTimeout},
		{"an idle connection", post + "Content-Length: 1\r\n\r\n{", "", "400 Bad Request", 3 * time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := connectTo(t, "Dapr's HTTP", TCPOptions{})
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

func TestLimits_ClientReadsNoResponses(t *testing.T) {
	for api, timeout := range map[string]time.Duration{"HTTP": requestTimeout, "Dapr's HTTP": daprWriteTimeout} {
		t.Run(api, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := connectTo(t, api, TCPOptions{})
				start := time.Now()
				for {
					if _, err := io.WriteString(conn, "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
						break
					}
				}
				if took := time.Since(start); took != timeout {
					t.Errorf("closed after %v", took)
				}
			})
		})
	}
}

// frames returns the frames that write writes.
func frames(write func(*http2.Framer) error) string {
	var text strings.Builder
	if err := write(http2.NewFramer(&text, nil)); err != nil {
		panic(err) // the tests' frames are valid
	}
	return text.String()
}

// clientPreface is the first data of a gRPC client.
var clientPreface = http2.ClientPreface + frames(func(f *http2.Framer) error { return f.WriteSettings() })

// headersFrame returns the header of a call. Unless it is complete, a part is missing.
func headersFrame(method string, complete bool) string {
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", method}, {":authority", "h"}, {"content-type", "application/grpc"},
	} {
		// A strings.Builder never returns an error.
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	return frames(func(f *http2.Framer) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: complete})
	})
}

// dataFrame returns a part of the request of a call.
func dataFrame(part string) string {
	return frames(func(f *http2.Framer) error { return f.WriteData(1, false, []byte(part)) })
}

// messagePrefix returns the prefix of a gRPC message of n bytes.
func messagePrefix(n uint32) string { return string(binary.BigEndian.AppendUint32([]byte{0}, n)) }

// readUntilEnd reads an HTTP/2 connection until it or the call ends, and returns which.
// It answers pings if pongs is set.
func readUntilEnd(conn net.Conn, pongs bool) string {
	f := http2.NewFramer(conn, conn)
	f.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return "connection closed"
		}
		switch frame := frame.(type) {
		case *http2.PingFrame:
			if pongs && !frame.IsAck() {
				// WritePing fails if the connection is closed, and then ReadFrame does
				// too.
				_ = f.WritePing(true, frame.Data)
			}
		case *http2.MetaHeadersFrame:
			for _, field := range frame.Fields {
				if field.Name == "grpc-status" {
					return "status " + field.Value
				}
			}
		}
	}
}

func TestLimits_SlowGRPCClients(t *testing.T) {
	t.Parallel()
	const ended, cancelled = "connection closed", "status 1"
	methods := map[string][2]string{
		"gRPC":        {"/mortise.locks.v1.Locks/TryLock", "/mortise.locks.v1.Locks/Watch"},
		"Dapr's gRPC": {"/dapr.proto.runtime.v1.Dapr/TryLockAlpha1", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"},
	}
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for api, method := range methods {
		for _, row := range []struct {
			name         string
			first, later string // what the client sends at once, and then each second
			pongs        bool   // pings are answered
			how          string
			after        time.Duration
		}{
			{"a client that sends nothing", "", "", true, ended, handshakeTimeout},
			{"an incomplete preface", clientPreface[:10], "", true, ended, handshakeTimeout},
			{"an invalid preface", clientPreface[1:], "", true, ended, 0},
			{"an incomplete header", clientPreface + headersFrame(method[0], false), "", false, ended, keepaliveTime + keepaliveTimeout},
			{"a client that does not answer pings", clientPreface, "", false, ended, keepaliveTime + keepaliveTimeout},
			{"a request that does not begin", clientPreface + headersFrame(method[0], true), "", true, cancelled, requestTimeout},
			{"a request that does not end", clientPreface + headersFrame(method[0], true) + dataFrame(messagePrefix(100)), dataFrame("x"), true,
				cancelled, requestTimeout},
			{"a stream whose request does not begin", clientPreface + headersFrame(method[1], true), "", true, cancelled, requestTimeout},
		} {
			start := time.Now() // before the server's timer starts
			conn := connectTo(t, api, TCPOptions{})
			sendSlowly(t, conn, row.first, row.later)
			waiting.Go(func() {
				how := readUntilEnd(conn, row.pongs)
				if took := time.Since(start); !isAbout(took, row.after) || how != row.how {
					t.Errorf("%s with %s: %s after %v", api, row.name, how, took)
				}
			})
		}
	}
}
