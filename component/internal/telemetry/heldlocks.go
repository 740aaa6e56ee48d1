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

// How long after a failure a store is watched anew. The pause grows, for beginning may
// cost the storage a walk over all its keys.
const (
	minWatchRetry = time.Second
	maxWatchRetry = time.Minute
)

// heldLockCounters tell of the locks of all stores that are open. It is a collector,
// since what nobody knows has no value.
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
			"Locks held in the component's storage, by way of whichever process. Absent while that is not known.", of, nil),
		expirations: counter("mortise_lock_expirations_total",
			"Locks in the component's storage that have expired, by way of whichever process they were taken.", of...),
		revocations: counter("mortise_lock_revocations_total",
			"Locks in the component's storage that were taken from their holders, by way of whichever process.", of...),
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

// place is where locks are counted: a component, and the kind of its store.
type storeLabels struct{ component, store string }

// held is how many locks are held. Two stores can have one place, when two sidecars have
// opened one name with different metadata, or for a moment when metadata has changed.
// Mostly they have one storage, whose locks count once; of two storages, the one with
// more locks is told. A place is missing as long as one of its stores does not tell.
func (c *heldLockCounters) held() map[storeLabels]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	most, silent := map[storeLabels]int{}, map[storeLabels]bool{}
	for _, s := range c.open {
		most[s.labels] = max(most[s.labels], s.held)
		silent[s.labels] = silent[s.labels] || !s.known
	}
	maps.DeleteFunc(most, func(p storeLabels, _ int) bool { return silent[p] })
	return most
}

// count counts what has happened, if s is the one of its place's censuses that does: the
// oldest that knows. The caller has locked mu.
func (c *heldLockCounters) countEvent(s *heldLockCounter, what stores.EventKind) {
	expirations := c.expirations.WithLabelValues(s.labels.component, s.labels.store)
	revocations := c.revocations.WithLabelValues(s.labels.component, s.labels.store)
	i := slices.IndexFunc(c.open, func(other *heldLockCounter) bool { return other.labels == s.labels && other.known })
	switch {
	case i < 0 || c.open[i] != s:
	case what == stores.EventExpired:
		expirations.Inc()
	case what == stores.EventRevoked:
		revocations.Inc()
	}
}

// attend counts the store's locks until leave is called.
func (m *Metrics) watchLocks(component string, s stores.Store) (leave func()) {
	c := &heldLockCounter{counters: m.heldLocks, labels: storeLabels{component, stores.NameOf(s)}}
	m.heldLocks.add(c)
	stop := runInBackground(func(ctx context.Context) { c.run(ctx, s) })
	return func() {
		stop()
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

	// Guarded by censuses.mu.
	known bool
	held  int
}

// run watches the store until ctx ends, or it turns out that the store cannot be watched.
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

func (c *heldLockCounter) setUnknown() {
	c.counters.mu.Lock()
	defer c.counters.mu.Unlock()
	c.known = false
}

// apply takes in what the store tells.
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

// countHeld counts the locks that somebody holds.
func countHeld(locks []stores.LockInfo) (held int) {
	for _, l := range locks {
		if l.Owner != "" {
			held++
		}
	}
	return held
}
