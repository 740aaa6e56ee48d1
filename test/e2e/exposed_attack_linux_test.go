// Attacks on an exposed Mortise, each on one connection, and what must come of it.
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

// How long Mortise bears with clients, and how much longer it may take on a busy machine.
const (
	handshakeTimeout = 5 * time.Second  // of gRPC
	requestTimeout   = 10 * time.Second // of all others, with what they send first
	pingTimeout      = 20 * time.Second // of gRPC, with who answers no pings
	daprTimeout      = 30 * time.Second // of Dapr's HTTP, with a body
	margin           = 5 * time.Second
)

// connect connects to the port. It may take what ctx allows.
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

// enter agrees on TLS, if there is any, over a connection.
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

// inside connects and agrees on TLS.
func (e endpoint) open(ctx context.Context) (net.Conn, error) {
	conn, err := e.connect(ctx)
	return e.handshake(ctx, conn, err)
}

// lasts sends something at once, and something each second, and returns an error if the
// connection has not ended in time.
func expectEnd(conn net.Conn, sends, drips string, patience time.Duration) error {
	defer conn.Close()
	_, _ = io.WriteString(conn, sends) // if it fails, the connection has ended
	for end := time.Now().Add(patience + margin); time.Now().Before(end); {
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.Copy(io.Discard, conn); !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		_, _ = io.WriteString(conn, drips)
	}
	return fmt.Errorf("the connection goes on for more than %v", patience)
}

// patience is that of gRPC, or of HTTP.
func (e endpoint) timeout(overGRPC, overHTTP time.Duration) time.Duration {
	if e.isGRPC() {
		return overGRPC
	}
	return overHTTP
}

// saysNothing connects, and that is all.
func sendNothing(ctx context.Context, e endpoint) error {
	conn, err := e.connect(ctx)
	if err != nil {
		return err
	}
	return expectEnd(conn, "", "", e.timeout(handshakeTimeout, requestTimeout))
}

// beginsToSpeak sends the beginning of the first thing to say.
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

// neverEndsTheHeader sends a header, line by line, or the beginning of a block of it.
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

// neverEndsTheBody has the token, and sends what comes after it byte by byte.
func sendUnendingBody(ctx context.Context, e endpoint) error {
	conn, err := e.open(ctx)
	if err != nil {
		return err
	}
	if e.isGRPC() {
		return expectCanceled(conn, grpcPreface+e.frames(http2.FlagHeadersEndHeaders, "\x00\x00\x00\x10\x00part"))
	}
	patience := requestTimeout
	if strings.HasPrefix(e.flag, "--dapr") {
		patience = daprTimeout
	}
	return expectEnd(conn, e.requestHeader(1000), " ", patience)
}

// endsTheCall expects that the call is told to be cancelled. The connection may go on.
func expectCanceled(conn net.Conn, sends string) error {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(requestTimeout + margin))
	_, _ = io.WriteString(conn, sends) // if it fails, there is no answer
	framer := http2.NewFramer(io.Discard, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return fmt.Errorf("waiting for an answer: %w", err)
		}
		header, ok := frame.(*http2.MetaHeadersFrame)
		if !ok {
			continue
		}
		for _, field := range header.Fields {
			if field.Name == "grpc-status" && field.Value != "1" {
				return fmt.Errorf("the status is %s", field.Value)
			}
		}
		if header.StreamEnded() {
			return nil
		}
	}
}

// neverReads has the token, asks for as much as it can, and reads nothing. Its connection
// is told to take little at a time.
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
	for !e.isGRPC() && e.stream == "" && err == nil { // until nothing more is taken
		_, err = io.WriteString(conn, e.longRequest())
	}
	select {
	case <-ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	if e.flag == "--dapr-http-listen-address" {
		return nil // which waits for a minute, as its own tests show
	}
	return expectEnd(conn, "", "", margin)
}

// sendsGarbage sends what nobody understands, with TLS and without.
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

// hasNoToken makes good calls without the token.
func sendNoToken(ctx context.Context, e endpoint) error {
	return e.expect(ctx, withHeader(e, e.header, e.value+"x"), unauthenticated)
}

// sendsTooMuch makes calls that are larger than anything good, with the token. Over HTTP
// the answer can be lost by the end of the connection, which comes before all is sent.
func sendLargeRequest(ctx context.Context, e endpoint) error {
	c, want := e.authorized(), tooLarge
	c.fill = strings.Repeat(" ", 5<<20)
	if e.method == http.MethodGet {
		want = answered // a body is not asked for, and not read
	}
	if got := e.do(ctx, c); got != want && (e.isGRPC() || got != disconnected) {
		return fmt.Errorf("is %s, want %s", got, want)
	}
	return nil
}

// sendsAHugeHeader sends a header larger than anything good. The answer can be lost by
// the end of the connection.
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
	_, _ = io.WriteString(conn, grpcPreface+e.largeFrames()) // as much of it as is taken
	for framer := http2.NewFramer(io.Discard, conn); ; {
		switch frame, err := framer.ReadFrame(); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errors.New("a huge header is not refused")
		case err != nil:
			return nil
		case frame.Header().Type == http2.FrameRSTStream, frame.Header().Type == http2.FrameGoAway:
			return nil
		case frame.Header().Type == http2.FrameHeaders:
			return errors.New("a huge header is answered")
		}
	}
}

// isGone asks for something that lasts, if there is something, and is gone without a
// word: it sends nothing more, not even that.
func disappear(ctx context.Context, e endpoint) error {
	tcp, err := e.connect(ctx)
	conn, err := e.handshake(ctx, tcp, err)
	if err != nil {
		return err
	}
	_, err = io.WriteString(conn, e.longRequest())
	if err == nil {
		_, err = conn.Read(make([]byte, 1)) // it is served
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

// vanish closes a connection so that the other end hears nothing of it.
func closeSilently(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var repair error
	err = raw.Control(func(fd uintptr) { repair = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1) })
	return errors.Join(err, repair, conn.Close())
}

// lasting is what a client with the token sends to be served for long, or else, where
// nothing lasts, a small request.
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

// head is the header of a request of HTTP with the token, whose body has so many bytes.
func (e endpoint) requestHeader(length int) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: h\r\n%s: %s\r\nContent-Length: %d\r\n\r\n",
		e.method, e.path, e.header, e.value, length)
}

// greeting is what clients of gRPC say first.
var grpcPreface = http2.ClientPreface + framed(func(f *http2.Framer) error { return f.WriteSettings() })

func framed(write func(*http2.Framer) error) string {
	var text strings.Builder
	if err := write(http2.NewFramer(&text, nil)); err != nil {
		panic(err) // the tests' own frames are good
	}
	return text.String()
}

// frames are those of a call of gRPC with the token: its header, with these flags, and
// what has come of its request.
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

// hugeFrames are those of a call of gRPC whose header has a quarter of a megabyte.
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

// block is the header of a call of gRPC with the token.
func (e endpoint) block() string {
	return block(":method", "POST", ":scheme", "http", ":path", e.path, ":authority", "h",
		"content-type", "application/grpc", e.header, e.value)
}

// block is a header of HTTP/2.
func block(namesAndValues ...string) string {
	var text strings.Builder
	encoder := hpack.NewEncoder(&text)
	for i := 0; i < len(namesAndValues); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: namesAndValues[i], Value: namesAndValues[i+1]}) // a Builder takes everything
	}
	return text.String()
}

// message is a request of gRPC, with its length before it.
func message(m proto.Message) string {
	text, err := proto.Marshal(m)
	if err != nil {
		panic(err) // the tests' own requests are good
	}
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text)))) + string(text)
}
