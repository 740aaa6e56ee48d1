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

// The labels. All their values are few: names of APIs and operations are ours, and
// components are what somebody has configured.
const (
	apiLabel       = "api"
	componentLabel = "component"
	storeLabel     = "store" // the kind, as memory or redis
	operationLabel = "operation"
	outcomeLabel   = "outcome"
)

// Upper bounds of histograms, in seconds.
var (
	// callBuckets begin with what the memory store takes and end with what a client waits
	// for an answer.
	callBuckets = []float64{
		0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
	}
	// waitBuckets end with the patience of people.
	waitBuckets = []float64{0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}
)

// Metrics counts calls and locks, for Prometheus. All methods are safe for concurrent
// use.
type Metrics struct {
	registry  *prometheus.Registry
	heldLocks *heldLockCounters

	calls     *prometheus.CounterVec
	durations *prometheus.HistogramVec
	waits     *prometheus.HistogramVec
	waiters   *prometheus.GaugeVec
	renewals  *prometheus.CounterVec
	lost      *prometheus.CounterVec
	errors    *prometheus.CounterVec
}

// NewMetrics returns metrics of a process of the version, whose components are as health
// tells.
func NewMetrics(version string, health *Health) *Metrics {
	of := []string{componentLabel, storeLabel}
	m := &Metrics{
		registry:  prometheus.NewRegistry(),
		heldLocks: newHeldLockCounters(of),
		calls: counter("mortise_calls_total", "Calls of stores that have ended, by what has become of them.",
			apiLabel, componentLabel, storeLabel, operationLabel, outcomeLabel),
		durations: histogram("mortise_call_duration_seconds", "Time that calls of stores took which do not wait for other clients.",
			callBuckets, apiLabel, componentLabel, storeLabel, operationLabel),
		waits: histogram("mortise_wait_duration_seconds", "Time that calls took which wait for locks, by what has become of them.",
			waitBuckets, componentLabel, storeLabel, outcomeLabel),
		waiters:  gauge("mortise_waiters", "Calls by way of this process that wait for locks now.", of...),
		renewals: counter("mortise_renewals_total", "Locks that were renewed by way of this process.", of...),
		lost: counter("mortise_leases_lost_total",
			"Renewals that came too late: by then nobody held the lock, or somebody else.", of...),
		errors: counter("mortise_store_errors_total",
			"Calls that failed because the storage could not be asked, or did not answer in time.", of...),
	}
	build := gauge("mortise_build_info", "Always 1, with the version of this process.", "version")
	build.WithLabelValues(version).Set(1)
	m.registry.MustRegister(m.calls, m.durations, m.waits, m.waiters, m.renewals, m.lost, m.errors, m.heldLocks, build,
		newUpCollector(health), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
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

// Handler serves the metrics to Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// meter observes one store. Its metrics have the labels for that.
type storeMetrics struct {
	calls     *prometheus.CounterVec
	durations prometheus.ObserverVec
	waits     prometheus.ObserverVec
	waiters   prometheus.Gauge
	renewals  prometheus.Counter
	lost      prometheus.Counter
	errors    prometheus.Counter
}

// meter returns what observes a store. It lets the store's metrics begin with zero.
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

// judge counts what an outcome means.
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

// isTrouble tells whether the storage is to blame for the outcome. That time was up is
// nothing bad when others were waited for.
func isStoreFailure(op stores.Operation, outcome stores.Outcome) bool {
	return outcome == stores.OutcomeFailed || outcome == stores.OutcomeTimedOut && !op.Waits()
}
