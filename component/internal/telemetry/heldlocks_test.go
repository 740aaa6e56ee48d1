package telemetry

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// checkLocks checks the metrics of the locks of component c in memory, once the bubble is
// idle.
func checkLocks(t *testing.T, m *Metrics, held, expirations, revocations int) {
	t.Helper()
	synctest.Wait()
	checkMetrics(t, m, "mortise_lock", fmt.Sprintf(`
mortise_lock_expirations_total{component="c",store="memory"} %d
mortise_lock_revocations_total{component="c",store="memory"} %d
mortise_locks_held{component="c",store="memory"} %d
`, expirations, revocations, held))
}

func TestHeldLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := newLockEventMetrics(), openMemory(t)
		lock(t.Context(), t, s, "before", time.Hour) // not through the wrapped store
		wrap(t, Telemetry{Metrics: m}, "c", s)
		check := func(held, expirations, revocations int) {
			t.Helper()
			checkLocks(t, m, held, expirations, revocations)
		}
		check(1, 0, 0)
		lock(t.Context(), t, s, "brief", time.Second)
		lock(t.Context(), t, s, "long", time.Hour)
		lock(t.Context(), t, s, "longer", time.Hour)
		check(4, 0, 0)
		time.Sleep(2 * time.Second)
		check(3, 1, 0)
		if err := stores.Revoke(t.Context(), s, "long", ""); err != nil {
			t.Fatal(err)
		}
		check(2, 1, 1)
		if err := s.Unlock(t.Context(), "longer", "ann"); err != nil {
			t.Fatal(err)
		}
		check(1, 1, 1)
	})
}

func TestHeldLocks_Withdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := newLockEventMetrics(), openMemory(t)
		wrap(t, Telemetry{Metrics: m}, "c", s)
		synctest.Wait()
		for _, key := range []string{"g1", "g2"} {
			if err := stores.Declare(t.Context(), s, stores.Declaration{Group: "g", Key: key, TTL: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		lock(t.Context(), t, s, "g1", time.Hour)
		lock(t.Context(), t, s, "other", time.Hour)
		for _, key := range []string{"g1", "g2"} {
			if err := stores.Withdraw(t.Context(), s, "g", key); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if held := m.heldLocks.held()[storeLabels{"c", "memory"}]; held != 1 {
			t.Errorf("%d locks are held", held)
		}
	})
}

// watchThen is a Watch that sends a snapshot of the locks and continues with then.
func watchThen(locks []stores.LockInfo, then func(context.Context) error) func(context.Context, func(stores.Event) error) error {
	return func(ctx context.Context, fn func(stores.Event) error) error {
		if err := fn(stores.Event{Kind: stores.EventSnapshot, Locks: locks}); err != nil {
			return err
		}
		return then(ctx)
	}
}

// untilEnd waits until ctx ends.
func untilEnd(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestHeldLocks_Unknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newLockEventMetrics()
		var started atomic.Int64
		s := &faultyStore{ping: pingOK}
		s.watch = func(ctx context.Context, fn func(stores.Event) error) error {
			if started.Add(1) < 4 {
				return errDown
			}
			return watchThen([]stores.LockInfo{{Key: "k", Owner: "ann"}, {Key: "free"}}, untilEnd)(ctx, fn)
		}
		wrap(t, Telemetry{Metrics: m}, "c", s)
		synctest.Wait()
		if held := m.heldLocks.held(); len(held) != 0 {
			t.Errorf("while the storage is down: %v", held)
		}
		time.Sleep(minWatchRetry + 2*minWatchRetry + 4*minWatchRetry)
		synctest.Wait()
		if held := m.heldLocks.held()[storeLabels{"c", "store"}]; held != 1 || started.Load() != 4 {
			t.Errorf("%d watches started, %d locks are held", started.Load(), held)
		}
	})
}

func TestHeldLocks_WatchRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newLockEventMetrics()
		var started atomic.Int64
		lost := make(chan struct{})
		s := &faultyStore{ping: pingOK}
		s.watch = func(ctx context.Context, fn func(stores.Event) error) error {
			return watchThen(make([]stores.LockInfo, started.Add(1)), func(ctx context.Context) error {
				select {
				case <-lost:
					return errDown
				case <-ctx.Done():
					return ctx.Err()
				}
			})(ctx, fn)
		}
		wrap(t, Telemetry{Metrics: m}, "c", s)
		synctest.Wait()
		for range 3 {
			if len(m.heldLocks.held()) != 1 {
				t.Error("the number of locks is absent although it is known")
			}
			lost <- struct{}{}
			synctest.Wait()
			if held := m.heldLocks.held(); len(held) != 0 {
				t.Errorf("after the watch has ended: %v", held)
			}
			time.Sleep(minWatchRetry) // an event resets the pause
			synctest.Wait()
		}
		if got := started.Load(); got != 4 {
			t.Errorf("%d watches started", got)
		}
	})
}

func TestHeldLocks_StoreWithoutWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newLockEventMetrics()
		wrap(t, Telemetry{Metrics: m}, "c", minimalStore{})
		synctest.Wait()
		checkMetrics(t, m, "mortise_lock", "\n")
	})
}

func TestHeldLocks_StoresWithSameName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newLockEventMetrics()
		locks := []stores.LockInfo{{Key: "k", Owner: "ann"}, {Key: "l", Owner: "bob"}}
		known := make(chan struct{})
		one := &faultyStore{watch: watchThen(locks[:1], untilEnd)}
		other := &faultyStore{watch: func(ctx context.Context, fn func(stores.Event) error) error {
			<-known
			return watchThen(locks, untilEnd)(ctx, fn)
		}}
		wrap(t, Telemetry{Metrics: m}, "c", one)
		stop := m.watchLocks("c", other)
		synctest.Wait()
		if held := m.heldLocks.held(); len(held) != 0 {
			t.Errorf("before both are known: %v", held)
		}
		close(known)
		synctest.Wait()
		if held := m.heldLocks.held()[storeLabels{"c", "store"}]; held != 2 {
			t.Errorf("when both are known: %d", held)
		}
		stop()
		if held := m.heldLocks.held()[storeLabels{"c", "store"}]; held != 1 {
			t.Errorf("when one is closed: %d", held)
		}
	})
}

func TestHeldLocks_StorageOpenTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := newLockEventMetrics(), openMemory(t)
		stop := m.watchLocks("c", s)
		wrap(t, Telemetry{Metrics: m}, "c", s)
		for round := range 2 {
			synctest.Wait()
			lock(t.Context(), t, s, "brief", time.Second)
			lock(t.Context(), t, s, "long", time.Hour)
			checkLocks(t, m, 2, round, round)
			time.Sleep(2 * time.Second)
			if err := stores.Revoke(t.Context(), s, "long", ""); err != nil {
				t.Fatal(err)
			}
			checkLocks(t, m, 0, round+1, round+1)
			if round == 0 {
				stop() // of the one that has counted
			}
		}
	})
}
