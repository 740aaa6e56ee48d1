// Attacks on an exposed Mortise, each on one connection, with the required reaction.
package e2e

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// The timeouts of Mortise, and a margin for a busy machine.
const (
	handshakeTimeout = 5 * time.Second  // of gRPC
	requestTimeout   = 10 * time.Second // of HTTP, for the first request
	pingTimeout      = 20 * time.Second // of gRPC, for clients that do not answer pings
	daprTimeout      = 30 * time.Second // of Dapr's HTTP API, for the body
	margin           = 5 * time.Second
)

// connect opens a TCP connection.
func (e endpoint) connect(ctx context.Context, options ...func(fd int) error) (*net.TCPConn, error) {
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		return errors.Join(raw.Control(func(fd uintptr) {
			for _, set := range options {
				err = errors.Join(err, set(int(fd)))
			}
		}), err)
	}}
	conn, err := dialer.DialContext(ctx, "tcp", e.addr)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// handshake performs the TLS handshake, if the endpoint uses TLS, on a connection.
func (e endpoint) handshake(ctx context.Context, conn net.Conn, err error) (net.Conn, error) {
	if err != nil || e.tls == nil {
		return conn, err
	}
	config := e.tls.Clone()
	config.ServerName, config.NextProtos = "127.0.0.1", []string{"http/1.1"}
	if e.isGRPC() {
		config.NextProtos = []string{"h2"}
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secured, nil
}

// open connects and performs the TLS handshake.
func (e endpoint) open(ctx context.Context) (net.Conn, error) {
	conn, err := e.connect(ctx)
	return e.handshake(ctx, conn, err)
}

// expectEnd writes first immediately and then next every second, and returns an error if
// the connection is still open after the timeout and a margin.
func expectEnd(conn net.Conn, first, next string, timeout time.Duration) error {
	defer conn.Close()
	_, _ = io.WriteString(conn, first) // if it fails, the connection has ended
	for end := time.Now().Add(timeout + margin); time.Now().Before(end); {
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.Copy(io.Discard, conn); !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		_, _ = io.WriteString(conn, next)
	}
	return fmt.Errorf("the connection must end within %v", timeout)
}

// timeout returns the one for the endpoint's protocol.
func (e endpoint) timeout(overGRPC, overHTTP time.Duration) time.Duration {
	if e.isGRPC() {
		return overGRPC
	}
	return overHTTP
}

// sendNothing connects and sends nothing.
func sendNothing(ctx context.Context, e endpoint) error {
	conn, err := e.connect(ctx)
	if err != nil {
		return err
	}
	return expectEnd(conn, "", "", e.timeout(handshakeTimeout, requestTimeout))
}

// sendPartialHandshake sends the first bytes of the protocol's first message.
func sendPartialHandshake(ctx context.Context, e endpoint) error {
	conn, err := e.connect(ctx)
	if err != nil {
		return err
	}
	hello := "POST / HT"
	switch {
	case e.tls != nil:
		hello = "\x16\x03\x01\x02\x00\x01"
	case e.isGRPC():
		hello = http2.ClientPreface[:10]
	}
	return expectEnd(conn, hello, "", e.timeout(handshakeTimeout, requestTimeout))
}

// sendUnendingHeader sends a header line by line, or a header block without its end.
func sendUnendingHeader(ctx context.Context, e endpoint) error {
	conn, err := e.open(ctx)
	if err != nil {
		return err
	}
	if e.isGRPC() {
		return expectEnd(conn, grpcPreface+e.frames(1, ""), "", pingTimeout)
	}
	return expectEnd(conn, "POST "+e.path+" HTTP/1.1\r\nHost: h\r\n", "X: y\r\n", requestTimeout)
}

// sendUnendingBody sends the token, and then the body byte by byte.
func sendUnendingBody(ctx context.Context, e endpoint) error {
	conn, err := e.open(ctx)
	if err != nil {
		return err
	}
	if e.isGRPC() {
		return expectCanceled(conn, grpcPreface+e.frames(http2.FlagHeadersEndHeaders, "\x00\x00\x00\x10\x00part"))
	}
	timeout := requestTimeout
	if strings.HasPrefix(e.flag, "--dapr") {
		timeout = daprTimeout
	}
	return expectEnd(conn, e.requestHeader(1000), " ", timeout)
}

// expectCanceled returns an error unless the server cancels the call. The connection may
// stay open.
func expectCanceled(conn net.Conn, frames string) error {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(requestTimeout + margin))
	_, _ = io.WriteString(conn, frames) // if it fails, reading fails too
	framer := http2.NewFramer(io.Discard, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return fmt.Errorf("read response: %w", err)
		}
		header, ok := frame.(*http2.MetaHeadersFrame)
		if !ok {
			continue
		}
		for _, field := range header.Fields {
			if field.Name == "grpc-status" && field.Value != "1" {
				return fmt.Errorf("grpc-status must be 1, got %s", field.Value)
			}
		}
		if header.StreamEnded() {
			return nil
		}
	}
}

// sendWithoutReading sends the token and as many requests as the server accepts, and
// reads nothing. Its connection has a small receive buffer.
func sendWithoutReading(ctx context.Context, e endpoint) error {
	tcp, err := e.connect(ctx,
		func(fd int) error { return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) },
		func(fd int) error { return syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 536) })
	conn, err := e.handshake(ctx, tcp, err)
	if err != nil {
		return err
	}
	defer conn.Close()
	ended := time.After(pingTimeout)
	_ = conn.SetWriteDeadline(time.Now().Add(margin))
	_, err = io.WriteString(conn, e.longRequest())
	for !e.isGRPC() && e.stream == "" && err == nil { // until the server stops reading
		_, err = io.WriteString(conn, e.longRequest())
	}
	select {
	case <-ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	if e.flag == "--dapr-http-listen-address" {
		return nil // its timeout is a minute, which its own tests check
	}
	return expectEnd(conn, "", "", margin)
}

// sendGarbage sends random bytes, with TLS and without.
func sendGarbage(ctx context.Context, e endpoint) error {
	for _, open := range []func(context.Context) (net.Conn, error){
		func(ctx context.Context) (net.Conn, error) { return e.connect(ctx) },
		e.open,
	} {
		conn, err := open(ctx)
		if err != nil {
			return err
		}
		garbage := make([]byte, 512)
		for i := range garbage {
			garbage[i] = byte(rand.Uint32())
		}
		if err := expectEnd(conn, string(garbage)+"\r\n\r\n", "", requestTimeout); err != nil {
			return err
		}
	}
	return nil
}

// sendNoToken makes valid calls with a wrong token.
func sendNoToken(ctx context.Context, e endpoint) error {
	return e.expect(ctx, withHeader(e, e.header, e.value+"x"), unauthenticated)
}

// sendLargeRequest makes calls with the token whose requests exceed the limit. Over HTTP
// the response can be lost, because the connection ends before all is sent.
func sendLargeRequest(ctx context.Context, e endpoint) error {
	c, want := e.authorized(), tooLarge
	c.fill = strings.Repeat(" ", 5<<20)
	if e.method == http.MethodGet {
		want = answered // the server ignores the body
	}
	if got := e.do(ctx, c); got != want && (e.isGRPC() || got != disconnected) {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}

// sendLargeHeader sends a header that exceeds the limit. The response can be lost when
// the connection ends.
func sendLargeHeader(ctx context.Context, e endpoint) error {
	conn, err := e.open(ctx)
	if err != nil {
		return err
	}
	if !e.isGRPC() {
		line := "X: " + strings.Repeat("x", 1<<10) + "\r\n"
		return expectEnd(conn, e.method+" "+e.path+" HTTP/1.1\r\nHost: h\r\n"+strings.Repeat(line, 256)+"\r\n", "", requestTimeout)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(requestTimeout + margin))
	// The server may stop reading.
	_, _ = io.WriteString(conn, grpcPreface+e.largeFrames())
	for framer := http2.NewFramer(io.Discard, conn); ; {
		switch frame, err := framer.ReadFrame(); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errors.New("a large header must be rejected")
		case err != nil:
			return nil
		case frame.Header().Type == http2.FrameRSTStream, frame.Header().Type == http2.FrameGoAway:
			return nil
		case frame.Header().Type == http2.FrameHeaders:
			return errors.New("a large header must be rejected, got a response")
		}
	}
}

// disappear makes a long request, if there is one, and then disappears: it sends nothing
// more, not even the end of the connection.
func disappear(ctx context.Context, e endpoint) error {
	tcp, err := e.connect(ctx)
	conn, err := e.handshake(ctx, tcp, err)
	if err != nil {
		return err
	}
	_, err = io.WriteString(conn, e.longRequest())
	if err == nil {
		_, err = conn.Read(make([]byte, 1)) // the server has accepted the request
	}
	if err := errors.Join(err, closeSilently(tcp)); err != nil {
		return err
	}
	select {
	case <-time.After(requestTimeout):
	case <-ctx.Done():
	}
	return ctx.Err()
}

// closeSilently closes a connection without notifying the other end.
func closeSilently(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var repair error
	err = raw.Control(func(fd uintptr) { repair = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1) })
	return errors.Join(err, repair, conn.Close())
}

// longRequest returns a request, with the token, for a stream, or a small request if the
// endpoint has no streams.
func (e endpoint) longRequest() string {
	switch {
	case e.isGRPC() && e.stream != "":
		call := e
		call.path = e.stream
		return grpcPreface + call.frames(http2.FlagHeadersEndHeaders, message(e.streamRequest))
	case e.isGRPC():
		m, _ := e.request("")
		return grpcPreface + e.frames(http2.FlagHeadersEndHeaders, message(m))
	case e.stream != "":
		return fmt.Sprintf("GET %s HTTP/1.1\r\nHost: h\r\n%s: %s\r\n\r\n", e.stream, e.header, e.value)
	}
	return e.requestHeader(len(e.body)) + e.body
}

// requestHeader returns the header of an HTTP request with the token and a body of this
// length.
func (e endpoint) requestHeader(length int) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: h\r\n%s: %s\r\nContent-Length: %d\r\n\r\n",
		e.method, e.path, e.header, e.value, length)
}

// grpcPreface is what gRPC clients send first.
var grpcPreface = http2.ClientPreface + framed(func(f *http2.Framer) error { return f.WriteSettings() })

func framed(write func(*http2.Framer) error) string {
	var text strings.Builder
	if err := write(http2.NewFramer(&text, nil)); err != nil {
		panic(err) // the frames of tests are valid
	}
	return text.String()
}

// frames returns the frames of a gRPC call with the token: its header, with these flags,
// and the body.
func (e endpoint) frames(flags http2.Flags, body string) string {
	return framed(func(f *http2.Framer) error {
		err := f.WriteHeaders(http2.HeadersFrameParam{
			StreamID: 1, BlockFragment: []byte(e.block()), EndHeaders: flags.Has(http2.FlagHeadersEndHeaders),
		})
		if err != nil || body == "" {
			return err
		}
		return f.WriteData(1, false, []byte(body))
	})
}

// largeFrames returns the frames of a gRPC call whose header has 256 KiB.
func (e endpoint) largeFrames() string {
	return framed(func(f *http2.Framer) error {
		err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(e.block())})
		line := []byte(block("x", strings.Repeat("x", 1<<10)))
		for i := range 256 {
			err = errors.Join(err, f.WriteContinuation(1, i == 255, line))
		}
		return err
	})
}

// block returns the encoded header of a gRPC call with the token.
func (e endpoint) block() string {
	return block(":method", "POST", ":scheme", "http", ":path", e.path, ":authority", "h",
		"content-type", "application/grpc", e.header, e.value)
}

// block returns an encoded header of HTTP/2.
func block(namesAndValues ...string) string {
	var text strings.Builder
	encoder := hpack.NewEncoder(&text)
	for i := 0; i < len(namesAndValues); i += 2 {
		// Writing to a Builder cannot fail.
		_ = encoder.WriteField(hpack.HeaderField{Name: namesAndValues[i], Value: namesAndValues[i+1]})
	}
	return text.String()
}

// message returns a gRPC message with its length prefix.
func message(m proto.Message) string {
	text, err := proto.Marshal(m)
	if err != nil {
		panic(err) // the requests of tests are valid
	}
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text)))) + string(text)
}
