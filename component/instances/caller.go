package instances

import (
	"context"
	"net"

	"google.golang.org/grpc/peer"
)

// caller is a connection, which stands for a client until that reconnects. It is the
// remote address that gRPC reports for the connection, because those of Unix sockets are
// all equal.
type caller struct {
	net.Addr
	bound        map[string]*instance // by component name; guarded by Set.mu
	disconnected bool                 // guarded by Set.mu
}

func newCaller(addr net.Addr) *caller { return &caller{Addr: addr, bound: map[string]*instance{}} }

// callerOf returns the caller whose call ctx belongs to. For a call that did not come in
// through a [Set.Listener] it returns s.preloaded.
func (s *Set) callerOf(ctx context.Context) *caller {
	if p, ok := peer.FromContext(ctx); ok {
		if c, ok := p.Addr.(*caller); ok {
			return c
		}
	}
	return s.preloaded
}

// unbind unbinds the caller from its instance of that name. The caller holds Set.mu.
func (c *caller) unbind(name string) {
	if i := c.bound[name]; i != nil {
		i.callers--
		delete(c.bound, name)
	}
}

// Listener returns a listener whose connections the set can distinguish, so that it knows
// which client has opened a component. A set's services use its Listener.
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

// conn is a connection whose Close disconnects its caller from the set.
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

// disconnect unbinds the caller from all instances and retires those that are unused.
func (s *Set) disconnect(c *caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.disconnected = true
	for name := range c.bound {
		c.unbind(name)
		s.retire(name)
	}
}
