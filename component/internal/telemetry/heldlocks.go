package telemetry

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mortise-lock/mortise/internal/sleep"
	"github.com/mortise-lock/mortise/stores"
)

// The pause before a failed watch is restarted doubles from minWatchRetry to
// maxWatchRetry, because a watch may begin with a scan of all keys.
const (
	minWatchRetry = time.Second
	maxWatchRetry = time.Minute
)

// heldLockCounters collects the metrics of locks held, expired and revoked in all open
// stores. A store whose watch is interrupted has no value of locks held.
type heldLockCounters struct {
	heldDesc    *prometheus.Desc
	expirations *prometheus.CounterVec
	revocations *prometheus.CounterVec

	mu   sync.Mutex
	open []*heldLockCounter // oldest first
}

func newHeldLockCounters(of []string) *heldLockCounters {
	return &heldLockCounters{
		heldDesc: prometheus.NewDesc("mortise_locks_held",
			"Locks held in the component's storage, whichever process took them. Absent while unknown.", of, nil),
		expirations: counter("mortise_lock_expirations_total",
			"Locks in the component's storage that expired, whichever process took them.", of...),
		revocations: counter("mortise_lock_revocations_total",
			"Locks in the component's storage that were revoked, whichever process took them.", of...),
	}
}

// Describe implements [prometheus.Collector].
func (c *heldLockCounters) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.heldDesc
	c.expirations.Describe(descs)
	c.revocations.Describe(descs)
}

// Collect implements [prometheus.Collector].
func (c *heldLockCounters) Collect(metrics chan<- prometheus.Metric) {
	c.expirations.Collect(metrics)
	c.revocations.Collect(metrics)
	for of, held := range c.held() {
		metrics <- prometheus.MustNewConstMetric(c.heldDesc, prometheus.GaugeValue, float64(held), of.component, of.store)
	}
}

// storeLabels are the label values of a store.
type storeLabels struct{ component, store string }

// held returns the number of locks held, by labels. Two stores have the same labels if
// two sidecars have opened one component name with different metadata, or briefly when
// metadata changes. Usually they share a storage, whose locks count once; of two storages
// it is the one with more locks. Labels are missing while the number of one of their
// stores is unknown.
func (c *heldLockCounters) held() map[storeLabels]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	most, unknown := map[storeLabels]int{}, map[storeLabels]bool{}
	for _, s := range c.open {
		most[s.labels] = max(most[s.labels], s.held)
		unknown[s.labels] = unknown[s.labels] || !s.known
	}
	maps.DeleteFunc(most, func(l storeLabels, _ int) bool { return unknown[l] })
	return most
}

// countEvent counts an expiry or a revocation that s reports. Of the stores with the same
// labels only the oldest one whose watch is up counts. The caller holds c.mu.
func (c *heldLockCounters) countEvent(s *heldLockCounter, kind stores.EventKind) {
	expirations := c.expirations.WithLabelValues(s.labels.component, s.labels.store)
	revocations := c.revocations.WithLabelValues(s.labels.component, s.labels.store)
	i := slices.IndexFunc(c.open, func(other *heldLockCounter) bool { return other.labels == s.labels && other.known })
	switch {
	case i < 0 || c.open[i] != s:
	case kind == stores.EventExpired:
		expirations.Inc()
	case kind == stores.EventRevoked:
		revocations.Inc()
	}
}

// watchLocks counts the store's locks until stop is called.
func (m *Metrics) watchLocks(component string, s stores.Store) (stop func()) {
	c := &heldLockCounter{counters: m.heldLocks, labels: storeLabels{component, stores.NameOf(s)}}
	m.heldLocks.add(c)
	stopWatch := runInBackground(func(ctx context.Context) { c.run(ctx, s) })
	return func() {
		stopWatch()
		m.heldLocks.remove(c)
	}
}

func (c *heldLockCounters) add(s *heldLockCounter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(c.open, s)
}

func (c *heldLockCounters) remove(s *heldLockCounter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = slices.DeleteFunc(c.open, func(other *heldLockCounter) bool { return other == s })
}

// heldLockCounter counts the locks of one store.
type heldLockCounter struct {
	counters *heldLockCounters
	labels   storeLabels

	// Guarded by counters.mu.
	known bool
	held  int
}

// run watches the store until ctx ends. It returns early if the store does not support
// Watch.
func (c *heldLockCounter) run(ctx context.Context, s stores.Store) {
	for pause := minWatchRetry; ; pause = min(2*pause, maxWatchRetry) {
		err := stores.Watch(ctx, s, "", func(e stores.Event) error {
			c.apply(e)
			pause = minWatchRetry
			return nil
		})
		c.setUnknown()
		if errors.Is(err, stores.ErrUnsupported) || !sleep.For(ctx, pause) {
			return
		}
	}
}

// setUnknown marks the number of locks as unknown, until the next snapshot.
func (c *heldLockCounter) setUnknown() {
	c.counters.mu.Lock()
	defer c.counters.mu.Unlock()
	c.known = false
}

// apply updates the counters with an event.
func (c *heldLockCounter) apply(e stores.Event) {
	c.counters.mu.Lock()
	defer c.counters.mu.Unlock()
	switch e.Kind {
	case stores.EventSnapshot:
		c.known, c.held = true, countHeld(e.Locks)
	case stores.EventAcquired:
		c.held++
	case stores.EventReleased, stores.EventExpired, stores.EventRevoked:
		c.held--
	case stores.EventWithdrawn:
		c.held -= countHeld([]stores.LockInfo{e.Lock})
	}
	c.counters.countEvent(c, e.Kind)
}

// countHeld returns how many of the locks are held.
func countHeld(locks []stores.LockInfo) (held int) {
	for _, l := range locks {
		if l.Owner != "" {
			held++
		}
	}
	return held
}
