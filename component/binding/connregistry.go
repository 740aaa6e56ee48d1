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
type connRegistry struct {
	peerProcess func(net.Conn) int // 0 is any that cannot be told from others

	mu          sync.Mutex
	accepted    uint64                 // how many connections there were
	connections map[string]*connection // that last, by address
	initialized map[int]bindings       // by process
	preloaded   bindings               // what was initialized by no sidecar
}

// bindings are bindings by name.
type bindings map[string]*binding

// connection is one connection of a sidecar.
type connection struct {
	process  int
	bindings bindings // those that are ready for its calls
}

func newConnRegistry() *connRegistry {
	return &connRegistry{
		peerProcess: peerProcess,
		connections: map[string]*connection{},
		initialized: map[int]bindings{},
		preloaded:   bindings{},
	}
}

// keep keeps the binding for the sidecar of ctx, in the place of one of that name. A
// connection that is gone has no use for it.
func (s *connRegistry) put(ctx context.Context, b *binding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	address, connected := addressOf(ctx)
	if !connected {
		s.preloaded[b.name] = b
		return
	}
	c := s.connections[address]
	if c == nil {
		return
	}
	s.forgetExited()
	if s.initialized[c.process] == nil {
		s.initialized[c.process] = bindings{}
	}
	c.bindings[b.name], s.initialized[c.process][b.name] = b, b
}

// find returns the binding of that name, or nil: what the sidecar of ctx has initialized,
// or nobody has. It tells whether it is ready for calls by this connection.
func (s *connRegistry) find(ctx context.Context, name string) (b *binding, ready bool) {
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
	return s.preloaded[name], true
}

// forgetEnded forgets what was initialized by processes that have ended.
func (s *connRegistry) forgetExited() {
	maps.DeleteFunc(s.initialized, func(process int, _ bindings) bool { return process != 0 && !processExists(process) })
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
func (s *Service) Listener(l net.Listener) net.Listener { return &listener{l, s.conns} }

type listener struct {
	net.Listener
	conns *connRegistry
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{c, l.conns, l.conns.add(c)}, nil
}

// conn is a connection that tells when it ends.
type conn struct {
	net.Conn
	conns   *connRegistry
	address address
}

func (c *conn) RemoteAddr() net.Addr { return c.address }

func (c *conn) Close() error {
	c.conns.remove(c.address)
	return c.Conn.Close()
}

// address is a connection's address with its number behind it, because the clients of
// Unix sockets have none.
type address struct{ network, name string }

func (a address) Network() string { return a.network }
func (a address) String() string  { return a.name }

func (s *connRegistry) add(c net.Conn) address {
	process := s.peerProcess(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted++
	remote := c.RemoteAddr()
	a := address{remote.Network(), fmt.Sprintf("%v connection %d", remote, s.accepted)}
	s.connections[a.name] = &connection{process, bindings{}}
	return a
}

func (s *connRegistry) remove(a address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.connections, a.name)
}
