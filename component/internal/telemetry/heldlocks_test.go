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

// checkLocks checks what is told of the locks of component c in memory, as soon as
// nothing is under way in the bubble.
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
		m, s := NewMetrics("v1", NewHealth(quiet)), openMemory(t)
		lock(t, t.Context(), s, "before", time.Hour) // by another way than the one that is observed
		wrap(t, Telemetry{Metrics: m}, "c", s)
		check := func(held, expirations, revocations int) {
			t.Helper()
			checkLocks(t, m, held, expirations, revocations)
		}
		check(1, 0, 0)
		lock(t, t.Context(), s, "brief", time.Second)
		lock(t, t.Context(), s, "long", time.Hour)
		lock(t, t.Context(), s, "longer", time.Hour)
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
		m, s := NewMetrics("v1", NewHealth(quiet)), openMemory(t)
		wrap(t, Telemetry{Metrics: m}, "c", s)
		synctest.Wait()
		for _, key := range []string{"g1", "g2"} {
			if err := stores.Declare(t.Context(), s, stores.Declaration{Group: "g", Key: key, TTL: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		lock(t, t.Context(), s, "g1", time.Hour)
		lock(t, t.Context(), s, "other", time.Hour)
		for _, key := range []string{"g1", "g2"} {
			if err := stores.Withdraw(t.Context(), s, "g", key); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if held := m.heldLocks.held()[storeLabels{"c", "memory"}]; held != 1 {
			t.Errorf("%d are held", held)
		}
	})
}

// watchThen is a watch that begins with some locks and does as then says.
func watchThen(locks []stores.LockInfo, then func(context.Context) error) func(context.Context, func(stores.Event) error) error {
	return func(ctx context.Context, tell func(stores.Event) error) error {
		if err := tell(stores.Event{Kind: stores.EventSnapshot, Locks: locks}); err != nil {
			return err
		}
		return then(ctx)
	}
}

// untilEnd lasts as long as ctx.
func untilEnd(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestHeldLocks_Unknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics("v1", NewHealth(quiet))
		var begun atomic.Int64
		s := &faultyStore{ping: pingOK}
		s.watch = func(ctx context.Context, tell func(stores.Event) error) error {
			if begun.Add(1) < 4 {
				return errDown
			}
			return watchThen([]stores.LockInfo{{Key: "k", Owner: "ann"}, {Key: "free"}}, untilEnd)(ctx, tell)
		}
		wrap(t, Telemetry{Metrics: m}, "c", s)
		synctest.Wait()
		if held := m.heldLocks.held(); len(held) != 0 {
			t.Errorf("while the storage is away: %v", held)
		}
		time.Sleep(minWatchRetry + 2*minWatchRetry + 4*minWatchRetry)
		synctest.Wait()
		if held := m.heldLocks.held()[storeLabels{"c", "telemetry"}]; held != 1 || begun.Load() != 4 {
			t.Errorf("begun %d times: %d", begun.Load(), held)
		}
	})
}

func TestHeldLocks_WatchRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics("v1", NewHealth(quiet))
		var begun atomic.Int64
		lost := make(chan struct{})
		s := &faultyStore{ping: pingOK}
		s.watch = func(ctx context.Context, tell func(stores.Event) error) error {
			return watchThen(make([]stores.LockInfo, begun.Add(1)), func(ctx context.Context) error {
				select {
				case <-lost:
					return errDown
				case <-ctx.Done():
					return ctx.Err()
				}
			})(ctx, tell)
		}
		wrap(t, Telemetry{Metrics: m}, "c", s)
		synctest.Wait()
		for range 3 {
			if len(m.heldLocks.held()) != 1 {
				t.Error("not told while it is known")
			}
			lost <- struct{}{}
			synctest.Wait()
			if held := m.heldLocks.held(); len(held) != 0 {
				t.Errorf("while nobody watches: %v", held)
			}
			time.Sleep(minWatchRetry) // which does not grow, since each watch has begun well
			synctest.Wait()
		}
		if got := begun.Load(); got != 4 {
			t.Errorf("begun %d times", got)
		}
	})
}

func TestHeldLocks_StoreWithoutWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics("v1", NewHealth(quiet))
		wrap(t, Telemetry{Metrics: m}, "c", minimalStore{})
		synctest.Wait()
		checkMetrics(t, m, "mortise_lock", "\n")
	})
}

func TestHeldLocks_StoresWithSameName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics("v1", NewHealth(quiet))
		locks := []stores.LockInfo{{Key: "k", Owner: "ann"}, {Key: "l", Owner: "bob"}}
		known := make(chan struct{})
		one := &faultyStore{watch: watchThen(locks[:1], untilEnd)}
		other := &faultyStore{watch: func(ctx context.Context, tell func(stores.Event) error) error {
			<-known
			return watchThen(locks, untilEnd)(ctx, tell)
		}}
		wrap(t, Telemetry{Metrics: m}, "c", one)
		leave := m.watchLocks("c", other)
		synctest.Wait()
		if held := m.heldLocks.held(); len(held) != 0 {
			t.Errorf("before all are known: %v", held)
		}
		close(known)
		synctest.Wait()
		if held := m.heldLocks.held()[storeLabels{"c", "telemetry"}]; held != 2 {
			t.Errorf("when both are: %d", held)
		}
		leave()
		if held := m.heldLocks.held()[storeLabels{"c", "telemetry"}]; held != 1 {
			t.Errorf("when one has left: %d", held)
		}
	})
}

func TestHeldLocks_StorageOpenTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := NewMetrics("v1", NewHealth(quiet)), openMemory(t)
		leave := m.watchLocks("c", s)
		wrap(t, Telemetry{Metrics: m}, "c", s)
		for round := range 2 {
			synctest.Wait()
			lock(t, t.Context(), s, "brief", time.Second)
			lock(t, t.Context(), s, "long", time.Hour)
			checkLocks(t, m, 2, round, round)
			time.Sleep(2 * time.Second)
			if err := stores.Revoke(t.Context(), s, "long", ""); err != nil {
				t.Fatal(err)
			}
			checkLocks(t, m, 0, round+1, round+1)
			if round == 0 {
				leave() // of that which has counted
			}
		}
	})
}
