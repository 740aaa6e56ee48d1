package servers

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy passes bytes between clients and a server, and can lose them or be late with
// them.
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

// LoseAnswers makes the next n answers of the server vanish, each together with its
// connection: the request has been carried out, and the client cannot know.
func (p *Proxy) LoseAnswers(n int) { p.lose.Store(int64(n)) }

// Lost tells whether every answer that was to vanish has.
func (p *Proxy) Lost() bool { return p.lose.Load() <= 0 }

// Delay makes every answer of the server late by d, until it is called again.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Cut ends all connections, and lets no new one come about until the function that it
// returns is called.
func (p *Proxy) Cut() (mend func()) {
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

// enter takes note of a connection, unless there shall be none.
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

// serve passes bytes both ways until either side hangs up.
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
		_, _ = io.Copy(server, client) // an end is an end, however it came
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
