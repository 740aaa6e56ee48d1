package rtm

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// buffered is how many writes of a server lie between it and a client who does not read.
const maxBufferedWrites = 256

// pipes is a listener whose connections are in this process, for in a bubble time stands
// still as long as somebody waits for a socket. They are made of net.Pipes. Those of
// package bufconn set timers to the past, and by that the race detector of Go 1.26
// crashes in a bubble now and then.
type pipes struct {
	dialed chan net.Conn
	closed context.Context
	close  context.CancelFunc
	relays sync.WaitGroup
}

// listen returns a listener, whose connections the test closes before it ends.
func listen(t testing.TB) *pipes {
	p := &pipes{dialed: make(chan net.Conn)}
	p.closed, p.close = context.WithCancel(context.Background())
	t.Cleanup(p.relays.Wait)
	return p
}

// Accept waits for somebody who dials.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.dialed:
		return conn, nil
	case <-p.closed.Done():
		return nil, net.ErrClosed
	}
}

// Close ends Accept. Connections stay.
func (p *pipes) Close() error {
	p.close()
	return nil
}

// Addr is no address.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// dial returns a connection that Accept takes.
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
		_, _ = io.Copy(far, near) // an end is an end, however it came
		_ = far.Close()
	})
	return client, nil
}

// receive passes on what comes, until there is no more.
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

// deliver writes what comes, as long as somebody reads it, and then ends both.
func deliver(to, from net.Conn, chunks <-chan []byte) {
	for chunk := range chunks {
		if _, err := to.Write(chunk); err != nil {
			_ = from.Close()
		}
	}
	_ = to.Close()
}
