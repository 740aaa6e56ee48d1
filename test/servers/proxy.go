package servers

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy forwards bytes between clients and a server, and can drop or delay replies.
type Proxy struct {
	Addr string // where clients connect

	target string
	listen net.Listener
	lose   atomic.Int64
	delay  atomic.Int64 // nanoseconds
	conns  sync.WaitGroup

	mu   sync.Mutex
	cut  bool
	open map[net.Conn]struct{}
}

// StartProxy starts a proxy before the server at the target address.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), target: target, listen: l, open: map[net.Conn]struct{}{}}
	p.conns.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.conns.Wait()
	})
	return p
}

// LoseAnswers drops the next n replies of the server, each together with its connection:
// the server has carried out the request, and the client does not receive the result.
func (p *Proxy) LoseAnswers(n int) { p.lose.Store(int64(n)) }

// Lost reports whether all replies that LoseAnswers requested have been dropped.
func (p *Proxy) Lost() bool { return p.lose.Load() <= 0 }

// Delay delays every reply of the server by d, until it is called again.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Cut ends all connections, and rejects new ones until restore is called.
func (p *Proxy) Cut() (restore func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for conn := range p.open {
		_ = conn.Close()
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cut = false
	}
}

// enter registers a connection, and reports whether it is accepted.
func (p *Proxy) enter(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cut {
		p.open[conn] = struct{}{}
	}
	return !p.cut
}

func (p *Proxy) leave(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, conn)
	_ = conn.Close()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		p.conns.Go(func() { p.serve(client) })
	}
}

// serve forwards bytes in both directions until either side ends the connection.
func (p *Proxy) serve(client net.Conn) {
	defer p.leave(client)
	if !p.enter(client) {
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	p.conns.Go(func() {
		_, _ = io.Copy(server, client) // any error ends the connection
		_ = server.Close()
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if err != nil || p.lose.Add(-1) >= 0 {
			return
		}
		time.Sleep(time.Duration(p.delay.Load()))
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}
