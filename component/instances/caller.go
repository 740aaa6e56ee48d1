package instances

import (
	"context"
	"net"

	"google.golang.org/grpc/peer"
)

// caller is one connection, and with it one client as long as it does not reconnect. It
// is the address that gRPC knows the connection by; Unix sockets have none of their own.
type caller struct {
	net.Addr
	bound        map[string]*instance // what it has opened, by name; guarded by Set.mu
	disconnected bool                 // guarded by Set.mu
}

func newCaller(addr net.Addr) *caller { return &caller{Addr: addr, bound: map[string]*instance{}} }

// callerOf returns the caller whose call ctx belongs to, or nobody if it came in by no
// [Listener].
func (s *Set) callerOf(ctx context.Context) *caller {
	if p, ok := peer.FromContext(ctx); ok {
		if c, ok := p.Addr.(*caller); ok {
			return c
		}
	}
	return s.preloaded
}

// leave gives up what the caller has opened by that name.
func (c *caller) unbind(name string) {
	if i := c.bound[name]; i != nil {
		i.callers--
		delete(c.bound, name)
	}
}

// Listener makes connections recognizable, so that a Set can tell by whom a component was
// opened. Connections that a Set's services take come from its Listener.
func (s *Set) Listener(l net.Listener) net.Listener { return &listener{l, s} }

type listener struct {
	net.Listener
	set *Set
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{c, l.set, newCaller(c.RemoteAddr())}, nil
}

// conn is a connection that tells its set when it ends.
type conn struct {
	net.Conn
	set    *Set
	caller *caller
}

func (c *conn) RemoteAddr() net.Addr { return c.caller }

func (c *conn) Close() error {
	c.set.disconnect(c.caller)
	return c.Conn.Close()
}

// forget gives up everything that the caller has opened.
func (s *Set) disconnect(c *caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.disconnected = true
	for name := range c.bound {
		c.unbind(name)
		s.retire(name)
	}
}
