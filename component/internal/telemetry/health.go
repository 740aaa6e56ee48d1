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
	// ComponentService and a component's name are the service whose health is that of the
	// component, with gRPC.
	ComponentService = "component/"

	// pingEvery is how often a store is asked whether a lock could be taken, and
	// pingAgain after it could not.
	pingInterval      = 5 * time.Second
	pingRetryInterval = time.Second

	// pingTimeout bounds the answer.
	pingTimeout = 2 * time.Second

	// pings is how many must fail, one after the other, before a component is reported as
	// failing.
	failureThreshold = 2
)

// Health knows in which components a lock could be taken now, and reports it. All methods
// are safe for concurrent use.
//
// It covers components and not the process: a restart of the process does not bring a
// storage back. So it does not affect the health of gRPC services, nor that of a server
// as a whole.
type Health struct {
	log logger.Logger

	mu           sync.Mutex
	targets      map[string]map[*healthTarget]struct{} // by component; none is empty
	servers      []*health.Server
	shuttingDown bool
}

// patient is one open store of a component.
type healthTarget struct {
	component string
	store     stores.Store
	failures  int // how often in a row; guarded by Health.mu
}

// NewHealth returns the health of no components.
func NewHealth(log logger.Logger) *Health {
	return &Health{log: log, targets: map[string]map[*healthTarget]struct{}{}}
}

// Tell lets the server know of every component, now and from now on, by services whose
// names begin with ComponentService. Of nil it does nothing.
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

// Leave lets those who ask know that the process takes no more calls.
func (h *Health) SetShuttingDown() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shuttingDown = true
}

// Leaving tells whether the process takes no more calls. Of nil it takes them.
func (h *Health) ShuttingDown() bool {
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.shuttingDown
}

// Failing reports the component as failing until recovered is called. It is for a
// component whose store is not open yet, and so cannot be asked.
func (h *Health) Failing(component string) (recovered func()) {
	p := &healthTarget{component: component, failures: failureThreshold}
	h.add(p)
	return func() { h.remove(p) }
}

// attend pings a store until leave is called.
func (h *Health) startPinging(component string, s stores.Store) (leave func()) {
	p := &healthTarget{component: component, store: s}
	h.add(p)
	stop := runInBackground(func(ctx context.Context) { h.pingLoop(ctx, p) })
	return func() {
		stop()
		h.remove(p)
	}
}

// add takes in a store that has just been opened, and so has answered.
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

// ask pings the store until ctx ends. A store that has no Ping counts as well.
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

// note takes in how a store has answered.
func (h *Health) record(p *healthTarget, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := p.failures
	if p.failures++; err == nil {
		p.failures = 0
	}
	switch {
	case p.failures == failureThreshold:
		h.log.Warnf("Component %q: no lock can be taken: %v", p.component, err)
	case p.failures == 0 && before >= failureThreshold:
		h.log.Infof("Component %q: locks can be taken again", p.component)
	default:
		return
	}
	h.publish(p.component)
}

// tell lets the servers know of a component. The caller has locked mu.
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

// isWell reports whether a lock could be taken in all stores of a component. The caller
// has locked mu.
func (h *Health) isHealthy(component string) bool {
	for p := range h.targets[component] {
		if p.failures >= failureThreshold {
			return false
		}
	}
	return true
}

// well reports for each component whether a lock could be taken, and whether the process
// takes no more calls.
func (h *Health) statuses() (all map[string]bool, leaving bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all = make(map[string]bool, len(h.targets))
	for component := range h.targets {
		all[component] = h.isHealthy(component)
	}
	return all, h.shuttingDown
}

// report is why things are not well, in JSON.
type healthReport struct {
	ShuttingDown bool     `json:"shuttingDown,omitempty"`
	Failing      []string `json:"failing,omitempty"` // components, sorted
}

// ServeHTTP answers 204 if calls are taken and a lock could be taken in every component,
// and otherwise 503 with what is failing.
func (h *Health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	all, leaving := h.statuses()
	maps.DeleteFunc(all, func(_ string, well bool) bool { return well })
	bad := healthReport{leaving, slices.Sorted(maps.Keys(all))}
	if !bad.ShuttingDown && len(bad.Failing) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(bad) // to a client that is gone
}

// up is the health of components as a metric.
type upCollector struct {
	health *Health
	desc   *prometheus.Desc
}

func newUpCollector(h *Health) upCollector {
	return upCollector{h, prometheus.NewDesc("mortise_component_up", "Whether a lock could be taken in the component now: 1 or 0.",
		[]string{componentLabel}, nil)}
}

// Describe implements [prometheus.Collector].
func (u upCollector) Describe(descs chan<- *prometheus.Desc) { descs <- u.desc }

// Collect implements [prometheus.Collector].
func (u upCollector) Collect(metrics chan<- prometheus.Metric) {
	all, _ := u.health.statuses()
	for component, well := range all {
		value := 0.0
		if well {
			value = 1
		}
		metrics <- prometheus.MustNewConstMetric(u.desc, prometheus.GaugeValue, value, component)
	}
}
