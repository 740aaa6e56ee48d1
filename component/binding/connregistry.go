package binding

import (
	"context"
	"maps"
	"net"
	"sync"

	"github.com/mortise-lock/mortise/component/internal/connid"
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
	open        map[*connection]struct{}
	initialized map[int]bindings // by process
	preloaded   bindings         // from the process's resource files
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
		open:        map[*connection]struct{}{},
		initialized: map[int]bindings{},
		preloaded:   bindings{},
	}
}

// put records the binding for the sidecar of ctx, and replaces one of the same name. It
// does nothing if the connection has ended.
func (r *connRegistry) put(ctx context.Context, b *binding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := connid.FromContext[connection](ctx)
	if c == nil {
		r.preloaded[b.name] = b
		return
	}
	if _, open := r.open[c]; !open {
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
	if c := connid.FromContext[connection](ctx); c != nil {
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

// Listener identifies each connection, so that the service recognizes a binding's
// sidecar. The service's connections must be accepted by this Listener. Other listeners
// may wrap it, but l must return the original connections.
func (s *Service) Listener(l net.Listener) net.Listener {
	return connid.Listener(l, s.conns.add, s.conns.remove)
}

func (r *connRegistry) add(conn net.Conn) *connection {
	c := &connection{r.peerProcess(conn), bindings{}}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[c] = struct{}{}
	return c
}

func (r *connRegistry) remove(c *connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, c)
}
