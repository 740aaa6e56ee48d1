package component

import (
	"crypto/tls"
	"net"
	"runtime"
	"sync/atomic"
)

// turns lets some handshakes of TLS at a time use the processor, and the others wait for their turn. Thousands can begin at once,
// each of them work for a millisecond, and calls on the socket would wait until all have had it.
type turns chan struct{}

// newTurns leaves half of the processors for what else there is to do.
func newTurns() turns { return make(turns, max(1, runtime.GOMAXPROCS(0)/2)) }

// listener returns a listener whose connections can have turns.
func (t turns) listener(l net.Listener) net.Listener { return turnsListener{l, t} }

type turnsListener struct {
	net.Listener
	turns turns
}

// Accept implements [net.Listener].
func (l turnsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &inTurn{Conn: conn, turns: l.turns}, nil
}

// inTurn is a connection. Its turn, once it has one, lasts until it is used again: then the work on what came by it is done.
type inTurn struct {
	net.Conn
	turns turns
	has   atomic.Bool
}

// take takes a turn for the connection on which a client has said hello, and waits for it.
func take(hello *tls.ClientHelloInfo) {
	if c, ok := hello.Conn.(*inTurn); ok {
		c.turns <- struct{}{}
		c.has.Store(true)
	}
}

func (c *inTurn) pass() {
	if c.has.CompareAndSwap(true, false) {
		<-c.turns
	}
}

// Read implements [net.Conn].
func (c *inTurn) Read(b []byte) (int, error) {
	c.pass()
	return c.Conn.Read(b)
}

// Write implements [net.Conn].
func (c *inTurn) Write(b []byte) (int, error) {
	c.pass()
	return c.Conn.Write(b)
}

// Close implements [net.Conn].
func (c *inTurn) Close() error {
	c.pass()
	return c.Conn.Close()
}
