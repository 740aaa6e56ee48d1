// Package telemetry exports metrics of calls and locks, traces that continue those of the
// clients, and the health of the stores.
//
// No metric label, span attribute or response contains a key or an owner of a lock. What
// is off costs nothing: a store without observers is not wrapped, and servers get no
// interceptors.
package telemetry

import (
	"net/http"

	"google.golang.org/grpc"

	"github.com/mortise-lock/mortise/stores"
)

// Telemetry observes stores and calls. The zero Telemetry observes nothing.
type Telemetry struct {
	Health  *Health  // nil: stores are not pinged
	Metrics *Metrics // nil: no metrics
	Tracing *Tracing // nil: no traces
}

// Wrap returns the store to use instead of s, which is s itself if no call is observed.
// It observes the store until release is called, which must happen after the last call
// and before s is closed. Calls that Telemetry itself makes to s are not observed.
func (o Telemetry) Wrap(component string, s stores.Store) (wrapped stores.Store, release func()) {
	var stops []func()
	if o.Health != nil {
		stops = append(stops, o.Health.startPinging(component, s))
	}
	wrapped = s
	if o.Metrics != nil {
		if o.Metrics.heldLocks != nil {
			stops = append(stops, o.Metrics.watchLocks(component, s))
		}
		wrapped = stores.Observe(wrapped, o.Metrics.forStore(component, stores.NameOf(s)))
	}
	if o.Tracing != nil {
		wrapped = stores.Observe(wrapped, o.Tracing.forStore(component, stores.NameOf(s)))
	}
	return wrapped, func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// observesCalls reports whether gRPC calls and HTTP requests are observed.
func (o Telemetry) observesCalls() bool { return o.Metrics != nil || o.Tracing != nil }

// ServerOptions returns the options with which a gRPC server has its calls observed.
func (o Telemetry) ServerOptions() []grpc.ServerOption {
	if !o.observesCalls() {
		return nil
	}
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(o.unary), grpc.ChainStreamInterceptor(o.stream)}
}

// Handler returns a handler that calls next and attributes the requests to the API.
func (o Telemetry) Handler(api string, next http.Handler) http.Handler {
	if !o.observesCalls() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.Tracing.serve(w, r.WithContext(WithAPI(r.Context(), api)), next)
	})
}
