package instances

import (
	"context"
	"net"

	"github.com/mortise-lock/mortise/component/internal/connid"
)

// caller is a connection, which stands for a client until that reconnects.
type caller struct {
	bound        map[string]*instance // by component name; guarded by Set.mu
	disconnected bool                 // guarded by Set.mu
}

func newCaller() *caller { return &caller{bound: map[string]*instance{}} }

// callerOf returns the caller whose call ctx belongs to. For a call that did not come in
// through a [Set.Listener] it returns s.preloaded.
func (s *Set) callerOf(ctx context.Context) *caller {
	if c := connid.FromContext[caller](ctx); c != nil {
		return c
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
func (s *Set) Listener(l net.Listener) net.Listener {
	return connid.Listener(l, func(net.Conn) *caller { return newCaller() }, s.disconnect)
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
