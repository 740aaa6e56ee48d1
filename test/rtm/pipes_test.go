package rtm

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// maxBufferedWrites is the number of server writes that are buffered for a client that
// does not read.
const maxBufferedWrites = 256

// pipes is a listener whose connections are in memory, because a bubble's time does not
// advance while a goroutine waits for a socket. It uses net.Pipe instead of bufconn,
// which sets timers to the past; that sometimes crashes the race detector of Go 1.26 in a
// bubble.
type pipes struct {
	dialed chan net.Conn
	closed context.Context
	close  context.CancelFunc
	relays sync.WaitGroup
}

// listen returns a listener. The test must close its connections.
func listen(t testing.TB) *pipes {
	p := &pipes{dialed: make(chan net.Conn)}
	p.closed, p.close = context.WithCancel(context.Background())
	t.Cleanup(p.relays.Wait)
	return p
}

// Accept waits for a call to dial.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.dialed:
		return conn, nil
	case <-p.closed.Done():
		return nil, net.ErrClosed
	}
}

// Close ends Accept. It does not close connections.
func (p *pipes) Close() error {
	p.close()
	return nil
}

// Addr returns a placeholder.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// dial returns the client side of a connection, whose server side Accept returns.
func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	client, near := net.Pipe()
	far, server := net.Pipe()
	select {
	case p.dialed <- server:
	case <-p.closed.Done():
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	chunks := make(chan []byte, maxBufferedWrites)
	p.relays.Go(func() { receive(far, chunks) })
	p.relays.Go(func() { deliver(near, far, chunks) })
	p.relays.Go(func() {
		_, _ = io.Copy(far, near) // all errors end the connection
		_ = far.Close()
	})
	return client, nil
}

// receive sends what it reads to the channel, until a read fails.
func receive(from net.Conn, chunks chan<- []byte) {
	defer close(chunks)
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			chunks <- bytes.Clone(buffer[:n])
		}
		if err != nil {
			return
		}
	}
}

// deliver writes the chunks, and then closes both connections.
func deliver(to, from net.Conn, chunks <-chan []byte) {
	for chunk := range chunks {
		if _, err := to.Write(chunk); err != nil {
			_ = from.Close()
		}
	}
	_ = to.Close()
}
