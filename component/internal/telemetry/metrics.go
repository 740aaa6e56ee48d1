package telemetry

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mortise-lock/mortise/stores"
)

// The metric labels. Each has few values: the names of APIs and operations are fixed, and
// components are configured.
const (
	apiLabel       = "api"
	componentLabel = "component"
	storeLabel     = "store" // the name of the backend, as memory or redis
	operationLabel = "operation"
	outcomeLabel   = "outcome"
)

// Upper bounds of histograms, in seconds.
var (
	// callBuckets range from a call of the memory store to the timeout of a client.
	callBuckets = []float64{
		0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
	}
	// waitBuckets range up to an hour, for waits that a person started.
	waitBuckets = []float64{0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}
)

// Metrics are Prometheus metrics of calls and locks. All methods are safe for concurrent
// use, except CountLockEvents.
type Metrics struct {
	registry  *prometheus.Registry
	heldLocks *heldLockCounters // nil unless CountLockEvents was called

	calls     *prometheus.CounterVec
	durations *prometheus.HistogramVec
	waits     *prometheus.HistogramVec
	waiters   *prometheus.GaugeVec
	renewals  *prometheus.CounterVec
	lost      *prometheus.CounterVec
	errors    *prometheus.CounterVec
}

// NewMetrics returns the metrics of a process of the given version. Whether a component
// is up is taken from health.
func NewMetrics(version string, health *Health) *Metrics {
	of := []string{componentLabel, storeLabel}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		calls: counter("mortise_calls_total", "Finished calls of stores, by outcome.",
			apiLabel, componentLabel, storeLabel, operationLabel, outcomeLabel),
		durations: histogram("mortise_call_duration_seconds", "Duration of calls of stores that do not wait for a lock.",
			callBuckets, apiLabel, componentLabel, storeLabel, operationLabel),
		waits: histogram("mortise_wait_duration_seconds", "Duration of calls that wait for a lock, by outcome.",
			waitBuckets, componentLabel, storeLabel, outcomeLabel),
		waiters:  gauge("mortise_waiters", "Calls of this process that wait for a lock now.", of...),
		renewals: counter("mortise_renewals_total", "Renewals through this process.", of...),
		lost: counter("mortise_leases_lost_total",
			"Renewals that came too late: the lock was free or another owner held it.", of...),
		errors: counter("mortise_store_errors_total",
			"Calls that failed because the storage was unreachable or did not answer in time.", of...),
	}
	build := gauge("mortise_build_info", "Always 1, with the version of the process as a label.", "version")
	build.WithLabelValues(version).Set(1)
	m.registry.MustRegister(m.calls, m.durations, m.waits, m.waiters, m.renewals, m.lost, m.errors, build,
		newUpCollector(health), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// CountLockEvents adds the metrics of locks held, expired and revoked. Every store that
// is wrapped from then on is watched, if it can be, which costs a subscription to all of
// its lock events. It must be called before the first store is wrapped.
func (m *Metrics) CountLockEvents() {
	m.heldLocks = newHeldLockCounters([]string{componentLabel, storeLabel})
	m.registry.MustRegister(m.heldLocks)
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

// Handler returns a handler that serves the metrics in Prometheus's format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// storeMetrics are the metrics of one store, with its labels. It is a [stores.Observer].
type storeMetrics struct {
	calls     *prometheus.CounterVec
	durations prometheus.ObserverVec
	waits     prometheus.ObserverVec
	waiters   prometheus.Gauge
	renewals  prometheus.Counter
	lost      prometheus.Counter
	errors    prometheus.Counter
}

// forStore returns the observer of a store. The store's metrics exist from then on, with
// the value 0.
func (m *Metrics) forStore(component, store string) *storeMetrics {
	of := prometheus.Labels{componentLabel: component, storeLabel: store}
	return &storeMetrics{
		calls:     m.calls.MustCurryWith(of),
		durations: m.durations.MustCurryWith(of),
		waits:     m.waits.MustCurryWith(of),
		waiters:   m.waiters.With(of),
		renewals:  m.renewals.With(of),
		lost:      m.lost.With(of),
		errors:    m.errors.With(of),
	}
}

// Begin implements [stores.Observer].
func (m *storeMetrics) Begin(ctx context.Context, op stores.Operation) (context.Context, func(stores.Outcome)) {
	begun := time.Now()
	waits := op == stores.OpLock || op == stores.OpLockAll
	if waits {
		m.waiters.Inc()
	}
	return ctx, func(outcome stores.Outcome) {
		api, took := apiFrom(ctx), time.Since(begun).Seconds()
		m.calls.WithLabelValues(api, string(op), string(outcome)).Inc()
		m.countOutcome(op, outcome)
		switch {
		case waits:
			m.waiters.Dec()
			m.waits.WithLabelValues(string(outcome)).Observe(took)
		case op != stores.OpWatch:
			m.durations.WithLabelValues(api, string(op)).Observe(took)
		}
	}
}

// countOutcome counts renewals, lost leases and errors of the store.
func (m *storeMetrics) countOutcome(op stores.Operation, outcome stores.Outcome) {
	switch {
	case isStoreFailure(op, outcome):
		m.errors.Inc()
	case op != stores.OpRenew:
	case outcome == stores.OutcomeDone:
		m.renewals.Inc()
	case outcome == stores.OutcomeNotHeld, outcome == stores.OutcomeNotOwner:
		m.lost.Inc()
	}
}

// isStoreFailure reports whether the storage caused the outcome. A timeout is one only of
// operations that do not wait for other clients.
func isStoreFailure(op stores.Operation, outcome stores.Outcome) bool {
	return outcome == stores.OutcomeFailed || outcome == stores.OutcomeTimedOut && !op.Waits()
}
