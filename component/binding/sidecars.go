package binding

import (
	"context"
	"fmt"
	"maps"
	"net"
	"sync"

	"google.golang.org/grpc/peer"
)

// sidecars knows which bindings each sidecar has initialized.
//
// A sidecar initializes once and may connect again: gRPC's clients give up a connection
// on which nothing has happened for half an hour. It is recognized by its process. Where
// processes cannot be told apart, as between the containers of a pod, all are one, and
// the last to initialize a name has it, but for connections that last and have
// initialized it themselves.
type sidecars struct {
	processOf func(net.Conn) int // 0 is any that cannot be told from others

	mu          sync.Mutex
	accepted    uint64                 // how many connections there were
	connections map[string]*connection // that last, by address
	initialized map[int]bindings       // by process
	nobody      bindings               // what was initialized by no sidecar
}

// bindings are bindings by name.
type bindings map[string]*binding

// connection is one connection of a sidecar.
type connection struct {
	process  int
	bindings bindings // those that are ready for its calls
}

func newSidecars() *sidecars {
	return &sidecars{
		processOf:   processOf,
		connections: map[string]*connection{},
		initialized: map[int]bindings{},
		nobody:      bindings{},
	}
}

// keep keeps the binding for the sidecar of ctx, in the place of one of that name. A
// connection that is gone has no use for it.
func (s *sidecars) keep(ctx context.Context, b *binding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	address, connected := addressOf(ctx)
	if !connected {
		s.nobody[b.name] = b
		return
	}
	c := s.connections[address]
	if c == nil {
		return
	}
	s.forgetEnded()
	if s.initialized[c.process] == nil {
		s.initialized[c.process] = bindings{}
	}
	c.bindings[b.name], s.initialized[c.process][b.name] = b, b
}

// find returns the binding of that name, or nil: what the sidecar of ctx has initialized,
// or nobody has. It tells whether it is ready for calls by this connection.
func (s *sidecars) find(ctx context.Context, name string) (b *binding, ready bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	address, _ := addressOf(ctx)
	if c := s.connections[address]; c != nil {
		if b := c.bindings[name]; b != nil {
			return b, true
		}
		if b := s.initialized[c.process][name]; b != nil {
			return b, false
		}
	}
	return s.nobody[name], true
}

// forgetEnded forgets what was initialized by processes that have ended.
func (s *sidecars) forgetEnded() {
	maps.DeleteFunc(s.initialized, func(process int, _ bindings) bool { return process != 0 && !runs(process) })
}

// addressOf is where a call comes from, if it comes by a connection.
func addressOf(ctx context.Context) (address string, connected bool) {
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		return p.Addr.String(), true
	}
	return "", false
}

// Listener makes connections recognizable, so that the service can tell by whom a binding
// was initialized. The connections that it takes come from its Listener; other listeners
// may be around it, and none of those may be within that change connections.
func (s *Service) Listener(l net.Listener) net.Listener { return &listener{l, s.sidecars} }

type listener struct {
	net.Listener
	sidecars *sidecars
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{c, l.sidecars, l.sidecars.add(c)}, nil
}

// conn is a connection that tells when it ends.
type conn struct {
	net.Conn
	sidecars *sidecars
	address  address
}

func (c *conn) RemoteAddr() net.Addr { return c.address }

func (c *conn) Close() error {
	c.sidecars.remove(c.address)
	return c.Conn.Close()
}

// address is a connection's address with its number behind it, because the clients of
// Unix sockets have none.
type address struct{ network, name string }

func (a address) Network() string { return a.network }
func (a address) String() string  { return a.name }

func (s *sidecars) add(c net.Conn) address {
	process := s.processOf(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted++
	remote := c.RemoteAddr()
	a := address{remote.Network(), fmt.Sprintf("%v connection %d", remote, s.accepted)}
	s.connections[a.name] = &connection{process, bindings{}}
	return a
}

func (s *sidecars) remove(a address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.connections, a.name)
}
