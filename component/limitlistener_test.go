package component

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// newListener returns a limitListener and a function that connects to it.
func newListener(t *testing.T, limit int) (*limitListener, func() net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limited := newLimitListener(l.(*net.TCPListener), limit)
	t.Cleanup(func() { _ = limited.Close() })
	return limited, func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
}

func TestLimitListener(t *testing.T) {
	l, connect := newListener(t, 2)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	for range 3 {
		connect()
	}
	first, second := <-accepted, <-accepted
	if len(l.slots) != cap(l.slots) {
		t.Errorf("two connections take %d of %d slots", len(l.slots), cap(l.slots))
	}
	select {
	case <-accepted:
		t.Error("a third connection was accepted")
	default:
	}
	for range 2 { // the second has no effect
		_ = first.Close()
	}
	third := <-accepted
	connect()
	select {
	case <-accepted:
		t.Error("a fourth connection was accepted")
	default:
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if conn, ok := <-accepted; ok {
		t.Errorf("a closed listener accepted %v", conn.RemoteAddr())
	}
	if err := errors.Join(second.Close(), third.Close()); err != nil {
		t.Error(err)
	}
}

func TestLimitListener_UnreadRequest(t *testing.T) {
	f := newFixture(t, func(*Options) {})
	request := "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"
	for endpoint, address := range map[string]string{
		"--dapr-http-listen-address": f.tcp.Dapr.HTTPAddress,
		"--http-listen-address":      f.tcp.HTTPAddress,
		"--metrics-address":          f.tcp.MetricsAddress,
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		sent := make(chan struct{})
		go func() { // which ends when the server closes the connection
			defer close(sent)
			_, _ = io.WriteString(conn, request)
		}()
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", endpoint, err)
			continue
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusRequestHeaderFieldsTooLarge || len(body) == 0 {
			t.Errorf("%s: got %s %q, %v", endpoint, response.Status, body, err)
		}
		_ = conn.Close()
		<-sent
	}
}
