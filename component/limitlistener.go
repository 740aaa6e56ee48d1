package component

import (
	"net"
	"sync"
)

// limitListener limits the open connections of a listener: Accept waits until there are
// fewer. Unlike those of x/net/netutil, its connections have all methods of a TCPConn,
// because net/http needs CloseWrite to refuse a request that it has not read to its end.
// Without it the connection is reset, often before the client has read the response.
type limitListener struct {
	*net.TCPListener
	slots  chan struct{} // holds an element for each open connection
	close  sync.Once
	closed chan struct{} // closed by Close
}

func newLimitListener(l *net.TCPListener, limit int) *limitListener {
	return &limitListener{TCPListener: l, slots: make(chan struct{}, limit), closed: make(chan struct{})}
}

// Accept returns the next connection.
func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.AcceptTCP()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{TCPConn: conn, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close closes the listener. It does not close its connections.
func (l *limitListener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return l.TCPListener.Close()
}

// limitedConn is a connection of a limitListener.
type limitedConn struct {
	*net.TCPConn
	release func()
}

// Close closes the connection, after which the listener accepts another one.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}
