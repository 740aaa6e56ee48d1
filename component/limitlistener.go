package component

import (
	"net"
	"sync"
)

// limitListener bounds how many connections of a listener are open at a time: Accept
// waits for one of them to be closed. Its connections have all methods of TCP's, unlike
// those of x/net/netutil. net/http needs CloseWrite to refuse a request that it has not
// read to its end; else the client's connection is reset, often before the client has
// read the answer.
type limitListener struct {
	*net.TCPListener
	slots  chan struct{} // has an element for each open connection
	close  sync.Once
	closed chan struct{} // is closed with the listener
}

func newLimitListener(l *net.TCPListener, most int) *limitListener {
	return &limitListener{TCPListener: l, slots: make(chan struct{}, most), closed: make(chan struct{})}
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

// Close closes the listener. Open connections stay open.
func (l *limitListener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return l.TCPListener.Close()
}

// limitedConn is a connection of a limitListener.
type limitedConn struct {
	*net.TCPConn
	release func()
}

// Close closes the connection and lets the listener accept another one.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}
