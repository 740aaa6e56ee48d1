package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/dapr/kit/logger"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/mortise-lock/mortise/internal/sleep"
	"github.com/mortise-lock/mortise/stores"
)

const (
	// ComponentService, followed by a component's name, is the gRPC service name whose
	// health is that of the component.
	ComponentService = "component/"

	// pingInterval is the pause between pings of a store, and pingRetryInterval the one
	// after a ping that failed.
	pingInterval      = 5 * time.Second
	pingRetryInterval = time.Second

	// pingTimeout bounds one ping.
	pingTimeout = 2 * time.Second

	// failureThreshold is how many pings in a row must fail before a component is
	// reported as failing.
	failureThreshold = 2
)

// Health pings the stores and reports in which components a lock could be taken now. All
// methods are safe for concurrent use.
//
// It covers components and not the process, because a restart of the process does not
// bring a storage back. So it affects neither the health of gRPC services nor that of a
// server as a whole.
type Health struct {
	log logger.Logger

	mu           sync.Mutex
	targets      map[string]map[*healthTarget]struct{} // by component; no set is empty
	servers      []*health.Server
	shuttingDown bool
}

// healthTarget is one store of a component.
type healthTarget struct {
	component string
	store     stores.Store
	failures  int // pings in a row; guarded by Health.mu
}

// NewHealth returns a Health without components.
func NewHealth(log logger.Logger) *Health {
	return &Health{log: log, targets: map[string]map[*healthTarget]struct{}{}}
}

// AddServer publishes the health of every component to the server, now and whenever it
// changes, as services whose names begin with ComponentService. On a nil Health it does
// nothing.
func (h *Health) AddServer(s *health.Server) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.servers = append(h.servers, s)
	for component := range h.targets {
		h.publish(component)
	}
}

// SetShuttingDown makes Health report that the process takes no more calls.
func (h *Health) SetShuttingDown() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shuttingDown = true
}

// ShuttingDown reports whether the process takes no more calls. A nil Health returns
// false.
func (h *Health) ShuttingDown() bool {
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.shuttingDown
}

// Failing reports the component as failing until recovered is called. It is for a
// component whose store is not open yet and cannot be pinged.
func (h *Health) Failing(component string) (recovered func()) {
	p := &healthTarget{component: component, failures: failureThreshold}
	h.add(p)
	return func() { h.remove(p) }
}

// startPinging pings a store until stop is called.
func (h *Health) startPinging(component string, s stores.Store) (stop func()) {
	p := &healthTarget{component: component, store: s}
	h.add(p)
	stopLoop := runInBackground(func(ctx context.Context) { h.pingLoop(ctx, p) })
	return func() {
		stopLoop()
		h.remove(p)
	}
}

// add adds a target. A store that has just been opened counts as healthy.
func (h *Health) add(p *healthTarget) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.targets[p.component] == nil {
		h.targets[p.component] = map[*healthTarget]struct{}{}
	}
	h.targets[p.component][p] = struct{}{}
	h.publish(p.component)
}

func (h *Health) remove(p *healthTarget) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if delete(h.targets[p.component], p); len(h.targets[p.component]) == 0 {
		delete(h.targets, p.component)
	}
	h.publish(p.component)
}

// pingLoop pings the store until ctx ends. A store that does not support Ping counts as
// healthy.
func (h *Health) pingLoop(ctx context.Context, p *healthTarget) {
	for pause := time.Duration(0); sleep.For(ctx, pause); {
		err := ping(ctx, p.store)
		switch {
		case ctx.Err() != nil || errors.Is(err, stores.ErrUnsupported):
			return
		case err == nil:
			pause = pingInterval
		default:
			pause = pingRetryInterval
		}
		h.record(p, err)
	}
}

func ping(ctx context.Context, s stores.Store) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return stores.Ping(ctx, s)
}

// record records the result of a ping and publishes a change.
func (h *Health) record(p *healthTarget, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := p.failures
	if p.failures++; err == nil {
		p.failures = 0
	}
	switch {
	case p.failures == failureThreshold:
		h.log.Warnf("Component %q is failing, no lock can be taken: %v", p.component, err)
	case p.failures == 0 && before >= failureThreshold:
		h.log.Infof("Component %q has recovered, locks can be taken again", p.component)
	default:
		return
	}
	h.publish(p.component)
}

// publish sets the status of a component in all servers. The caller holds h.mu.
func (h *Health) publish(component string) {
	status := healthpb.HealthCheckResponse_SERVING
	switch {
	case len(h.targets[component]) == 0:
		status = healthpb.HealthCheckResponse_SERVICE_UNKNOWN
	case !h.isHealthy(component):
		status = healthpb.HealthCheckResponse_NOT_SERVING
	}
	for _, s := range h.servers {
		s.SetServingStatus(ComponentService+component, status)
	}
}

// isHealthy reports whether a lock could be taken in all stores of a component. The
// caller holds h.mu.
func (h *Health) isHealthy(component string) bool {
	for p := range h.targets[component] {
		if p.failures >= failureThreshold {
			return false
		}
	}
	return true
}

// statuses returns for each component whether a lock could be taken, and whether the
// process is shutting down.
func (h *Health) statuses() (healthy map[string]bool, shuttingDown bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	healthy = make(map[string]bool, len(h.targets))
	for component := range h.targets {
		healthy[component] = h.isHealthy(component)
	}
	return healthy, h.shuttingDown
}

// healthReport is the body of a 503 response, in JSON.
type healthReport struct {
	ShuttingDown bool     `json:"shuttingDown,omitempty"`
	Failing      []string `json:"failing,omitempty"` // components, sorted
}

// ServeHTTP responds with 204 if the process takes calls and a lock could be taken in
// every component, and otherwise with 503 and a healthReport.
func (h *Health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	components, shuttingDown := h.statuses()
	maps.DeleteFunc(components, func(_ string, healthy bool) bool { return healthy })
	report := healthReport{shuttingDown, slices.Sorted(maps.Keys(components))}
	if !report.ShuttingDown && len(report.Failing) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(report) // fails only if the client has disconnected
}

// upCollector collects the health of components as a metric.
type upCollector struct {
	health *Health
	desc   *prometheus.Desc
}

func newUpCollector(h *Health) upCollector {
	return upCollector{h, prometheus.NewDesc("mortise_component_up", "1 if a lock could be taken in the component now, else 0.",
		[]string{componentLabel}, nil)}
}

// Describe implements [prometheus.Collector].
func (u upCollector) Describe(descs chan<- *prometheus.Desc) { descs <- u.desc }

// Collect implements [prometheus.Collector].
func (u upCollector) Collect(metrics chan<- prometheus.Metric) {
	components, _ := u.health.statuses()
	for component, healthy := range components {
		value := 0.0
		if healthy {
			value = 1
		}
		metrics <- prometheus.MustNewConstMetric(u.desc, prometheus.GaugeValue, value, component)
	}
}
