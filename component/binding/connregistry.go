package binding

import (
	"context"
	"fmt"
	"maps"
	"net"
	"sync"

	"google.golang.org/grpc/peer"
)

// connRegistry records which bindings each sidecar has initialized.
//
// A sidecar initializes a binding once, but may connect again: gRPC clients close a
// connection that has been idle for half an hour. A sidecar is identified by its process.
// Where processes cannot be identified, as between the containers of a pod, all sidecars
// count as one. The last one to initialize a name then has it, except for open
// connections that have initialized the name themselves.
type connRegistry struct {
	peerProcess func(net.Conn) int // 0 if it is unknown

	mu          sync.Mutex
	accepted    uint64                 // number of connections so far
	connections map[string]*connection // the open ones, by address
	initialized map[int]bindings       // by process
	preloaded   bindings               // from the process's resource files
}

// bindings are bindings by name.
type bindings map[string]*binding

// connection is an open connection of a sidecar.
type connection struct {
	process  int
	bindings bindings // those that are prepared for its calls
}

func newConnRegistry() *connRegistry {
	return &connRegistry{
		peerProcess: peerProcess,
		connections: map[string]*connection{},
		initialized: map[int]bindings{},
		preloaded:   bindings{},
	}
}

// put records the binding for the sidecar of ctx, and replaces one of the same name. It
// does nothing if the connection has ended.
func (r *connRegistry) put(ctx context.Context, b *binding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	address, connected := addressOf(ctx)
	if !connected {
		r.preloaded[b.name] = b
		return
	}
	c := r.connections[address]
	if c == nil {
		return
	}
	r.forgetExited()
	if r.initialized[c.process] == nil {
		r.initialized[c.process] = bindings{}
	}
	c.bindings[b.name], r.initialized[c.process][b.name] = b, b
}

// find returns the binding of that name that the sidecar of ctx has initialized, or else
// the preloaded one, or nil. It also reports whether the binding is prepared for calls
// from this connection.
func (r *connRegistry) find(ctx context.Context, name string) (b *binding, ready bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	address, _ := addressOf(ctx)
	if c := r.connections[address]; c != nil {
		if b := c.bindings[name]; b != nil {
			return b, true
		}
		if b := r.initialized[c.process][name]; b != nil {
			return b, false
		}
	}
	return r.preloaded[name], true
}

// forgetExited removes the bindings of processes that have exited.
func (r *connRegistry) forgetExited() {
	maps.DeleteFunc(r.initialized, func(process int, _ bindings) bool { return process != 0 && !processExists(process) })
}

// addressOf returns the address of a call's connection, if the call comes from one.
func addressOf(ctx context.Context) (address string, connected bool) {
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		return p.Addr.String(), true
	}
	return "", false
}

// Listener gives each connection a unique address, by which the service recognizes a
// binding's sidecar. The service's connections must be accepted by this Listener. Other
// listeners may wrap it, but l must return the original connections.
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

// conn is a connection that is removed from the registry when it is closed.
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

// address is a connection's address followed by its number, because the clients of Unix
// sockets have no address.
type address struct{ network, name string }

func (a address) Network() string { return a.network }
func (a address) String() string  { return a.name }

func (r *connRegistry) add(c net.Conn) address {
	process := r.peerProcess(c)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepted++
	remote := c.RemoteAddr()
	a := address{remote.Network(), fmt.Sprintf("%v connection %d", remote, r.accepted)}
	r.connections[a.name] = &connection{process, bindings{}}
	return a
}

func (r *connRegistry) remove(a address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.connections, a.name)
}
