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
		{"no limit at all", 1<<64 - 1, 1, maxConnections},
		{"few for all", 1024, 4, 192},
		{"few for one", 1024, 1, 768},
		{"next to none", 2, 4, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := connectionShare(row.files, row.endpoints); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}

// APIs are the servers of all endpoints, by what they serve.
var serverConstructors = map[string]func(*tcpListeners, services) server{
	"gRPC": (*tcpListeners).grpcServer, "Dapr's gRPC": (*tcpListeners).daprGRPCServer,
	"HTTP": (*tcpListeners).httpServer, "Dapr's HTTP": (*tcpListeners).daprHTTPServer,
}

// withMemory is what the APIs are made of, with a memory store behind all of them.
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

// knock connects to one of the APIs, which serves memory in a bubble.
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

// about tells whether something took as long as it should, on a machine that may be busy.
// The servers of gRPC run in no bubble: the timers of their connections crash the race
// detector there now and then (golang/go#78156).
func isAbout(took, want time.Duration) bool { return took >= want && took < want+5*time.Second }

func TestLimits_SlowTLSHandshake(t *testing.T) {
	certificate := servers.NewCertificate(t)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for sends, name := range map[string]string{"": "says nothing", "\x16\x03\x01\x02\x00\x01": "begins to say hello"} {
		for api, patience := range map[string]time.Duration{
			"gRPC": handshakeTimeout, "Dapr's gRPC": handshakeTimeout, "HTTP": requestTimeout, "Dapr's HTTP": requestTimeout,
		} {
			conn := connectTo(t, api, TCPOptions{Address: "127.0.0.1:0", CertFile: certificate.File, KeyFile: certificate.KeyFile})
			begun := time.Now()
			sendSlowly(t, conn, sends, "")
			waiting.Go(func() {
				told, _ := io.ReadAll(conn)
				if took := time.Since(begun); !isAbout(took, patience) {
					t.Errorf("%s and one who %s: after %v it is told %q", api, name, took, told)
				}
			})
		}
	}
}

func TestLimits_SlowDaprHTTPClients(t *testing.T) {
	const post = "POST /v1.0-alpha1/lock/locks HTTP/1.1\r\nHost: localhost\r\n"
	for _, row := range []struct {
		name, sends, drips string // what comes at once, and what each second
		code               string // in the answer
		after              time.Duration
	}{
		{"one who says nothing", "", "", "", requestTimeout},
		{"one whose header does not end", post, "X: y\r\n", "", requestTimeout},
		{"one whose body does not end", post + "Content-Length: 100\r\n\r\n", " ", "400 Bad Request", 3 * requestTimeout},
		{"one who has no more to say", post + "Content-Length: 1\r\n\r\n{", "", "400 Bad Request", 3 * time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := connectTo(t, "Dapr's HTTP", TCPOptions{})
				begun := time.Now()
				sendSlowly(t, conn, row.sends, row.drips)
				told, _ := io.ReadAll(conn)
				status, _, _ := strings.Cut(string(told), "\r\n")
				if took := time.Since(begun); took != row.after || strings.TrimPrefix(status, "HTTP/1.1 ") != row.code {
					t.Errorf("after %v it is told %q", took, told)
				}
			})
		})
	}
}

func TestLimits_ClientReadsNoResponses(t *testing.T) {
	for api, patience := range map[string]time.Duration{"HTTP": requestTimeout, "Dapr's HTTP": daprWriteTimeout} {
		t.Run(api, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := connectTo(t, api, TCPOptions{})
				begun := time.Now()
				for {
					if _, err := io.WriteString(conn, "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
						break
					}
				}
				if took := time.Since(begun); took != patience {
					t.Errorf("it is given up after %v", took)
				}
			})
		})
	}
}

// frames are what write writes.
func frames(write func(*http2.Framer) error) string {
	var text strings.Builder
	if err := write(http2.NewFramer(&text, nil)); err != nil {
		panic(err) // the tests' own frames are good
	}
	return text.String()
}

// hello is what a client of gRPC says first.
var clientPreface = http2.ClientPreface + frames(func(f *http2.Framer) error { return f.WriteSettings() })

// call is the header of a call. Unless it is whole, the end of it does not come.
func headersFrame(method string, whole bool) string {
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", method}, {":authority", "h"}, {"content-type", "application/grpc"},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // a Builder takes everything
	}
	return frames(func(f *http2.Framer) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: whole})
	})
}

// data is a part of the request of a call.
func dataFrame(part string) string {
	return frames(func(f *http2.Framer) error { return f.WriteData(1, false, []byte(part)) })
}

// ofLength is what comes before a message of gRPC.
func messagePrefix(n uint32) string { return string(binary.BigEndian.AppendUint32([]byte{0}, n)) }

// outlast answers what is asked on a connection of HTTP/2 until that ends, or the call
// does, and returns how.
func readUntilEnd(conn net.Conn, pongs bool) string {
	f := http2.NewFramer(conn, conn)
	f.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return "the connection ends"
		}
		switch frame := frame.(type) {
		case *http2.PingFrame:
			if pongs && !frame.IsAck() {
				_ = f.WritePing(true, frame.Data) // a connection that has ended is read to its end
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
	const ended, cancelled = "the connection ends", "status 1"
	methods := map[string][2]string{
		"gRPC":        {"/mortise.locks.v1.Locks/TryLock", "/mortise.locks.v1.Locks/Watch"},
		"Dapr's gRPC": {"/dapr.proto.runtime.v1.Dapr/TryLockAlpha1", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"},
	}
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for api, method := range methods {
		for _, row := range []struct {
			name         string
			sends, drips string // what comes at once, and what each second
			pongs        bool   // pings are answered
			how          string
			after        time.Duration
		}{
			{"one who says nothing", "", "", true, ended, handshakeTimeout},
			{"one who does not finish the hello", clientPreface[:10], "", true, ended, handshakeTimeout},
			{"one who says what is no hello", clientPreface[1:], "", true, ended, 0},
			{"one whose header does not end", clientPreface + headersFrame(method[0], false), "", false, ended, keepaliveTime + keepaliveTimeout},
			{"one who does not answer pings", clientPreface, "", false, ended, keepaliveTime + keepaliveTimeout},
			{"one whose request does not begin", clientPreface + headersFrame(method[0], true), "", true, cancelled, requestTimeout},
			{"one whose request does not end", clientPreface + headersFrame(method[0], true) + dataFrame(messagePrefix(100)), dataFrame("x"), true,
				cancelled, requestTimeout},
			{"one whose stream does not begin", clientPreface + headersFrame(method[1], true), "", true, cancelled, requestTimeout},
		} {
			conn := connectTo(t, api, TCPOptions{})
			begun := time.Now()
			sendSlowly(t, conn, row.sends, row.drips)
			waiting.Go(func() {
				how := readUntilEnd(conn, row.pongs)
				if took := time.Since(begun); !isAbout(took, row.after) || how != row.how {
					t.Errorf("%s and %s: after %v %s", api, row.name, took, how)
				}
			})
		}
	}
}
