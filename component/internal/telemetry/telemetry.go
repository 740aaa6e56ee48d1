// Package observe tells what the process does and how it is: metrics of its calls and its
// locks, traces that continue those of its clients, and the health of its stores.
//
// No label, attribute or answer of it holds a key or an owner of a lock. What is off
// costs nothing: a store that nobody observes is not wrapped, and servers get no
// interceptors.
package telemetry

import (
	"net/http"

	"google.golang.org/grpc"

	"github.com/mortise-lock/mortise/stores"
)

// Telemetry is what stores and calls are observed by. The zero Telemetry observes
// nothing.
type Telemetry struct {
	Health  *Health  // nil: nobody asks
	Metrics *Metrics // nil: none
	Tracing *Tracing // nil: none
}

// Attend observes a store from when it is opened until leave is called, when it is not
// used any more. It returns the store to be used in its place. The observers' own calls
// of the store are not observed.
func (o Telemetry) Wrap(component string, s stores.Store) (used stores.Store, leave func()) {
	var leaves []func()
	if o.Health != nil {
		leaves = append(leaves, o.Health.startPinging(component, s))
	}
	used = s
	if o.Metrics != nil {
		leaves = append(leaves, o.Metrics.watchLocks(component, s))
		used = stores.Observe(used, o.Metrics.forStore(component, stores.NameOf(s)))
	}
	if o.Tracing != nil {
		used = stores.Observe(used, o.Tracing.forStore(component, stores.NameOf(s)))
	}
	return used, func() {
		for _, leave := range leaves {
			leave()
		}
	}
}

// callsAreObserved tells whether calls are, and not only stores.
func (o Telemetry) observesCalls() bool { return o.Metrics != nil || o.Tracing != nil }

// ServerOptions are those that a gRPC server needs for its calls to be observed.
func (o Telemetry) ServerOptions() []grpc.ServerOption {
	if !o.observesCalls() {
		return nil
	}
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(o.unary), grpc.ChainStreamInterceptor(o.stream)}
}

// Handler returns next, as the API of that name, for its requests to be observed.
func (o Telemetry) Handler(api string, next http.Handler) http.Handler {
	if !o.observesCalls() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.Tracing.serve(w, r.WithContext(WithAPI(r.Context(), api)), next)
	})
}
