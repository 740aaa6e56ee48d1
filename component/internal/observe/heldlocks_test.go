package observe

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

func TestLocksAreCountedAsTheyChangeHands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := NewMetrics("v1", NewHealth(quiet)), openMemory(t)
		take(t, t.Context(), s, "before", time.Hour) // by another way than the one that is observed
		attend(t, Telemetry{Metrics: m}, "c", s)
		check := func(held, expirations, revocations int) {
			t.Helper()
			checkLocks(t, m, held, expirations, revocations)
		}
		check(1, 0, 0)
		take(t, t.Context(), s, "brief", time.Second)
		take(t, t.Context(), s, "long", time.Hour)
		take(t, t.Context(), s, "longer", time.Hour)
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

func TestALockThatIsWithdrawnIsHeldNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := NewMetrics("v1", NewHealth(quiet)), openMemory(t)
		attend(t, Telemetry{Metrics: m}, "c", s)
		synctest.Wait()
		for _, key := range []string{"g1", "g2"} {
			if err := stores.Declare(t.Context(), s, stores.Declaration{Group: "g", Key: key, TTL: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		take(t, t.Context(), s, "g1", time.Hour)
		take(t, t.Context(), s, "other", time.Hour)
		for _, key := range []string{"g1", "g2"} {
			if err := stores.Withdraw(t.Context(), s, "g", key); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if held := m.censuses.held()[place{"c", "memory"}]; held != 1 {
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

func TestWhatIsNotKnownIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics("v1", NewHealth(quiet))
		var begun atomic.Int64
		s := &sick{ping: well}
		s.watch = func(ctx context.Context, tell func(stores.Event) error) error {
			if begun.Add(1) < 4 {
				return errAway
			}
			return watchThen([]stores.LockInfo{{Key: "k", Owner: "ann"}, {Key: "free"}}, untilEnd)(ctx, tell)
		}
		attend(t, Telemetry{Metrics: m}, "c", s)
		synctest.Wait()
		if held := m.censuses.held(); len(held) != 0 {
			t.Errorf("while the storage is away: %v", held)
		}
		time.Sleep(firstPause + 2*firstPause + 4*firstPause)
		synctest.Wait()
		if held := m.censuses.held()[place{"c", "store"}]; held != 1 || begun.Load() != 4 {
			t.Errorf("begun %d times: %d", begun.Load(), held)
		}
	})
}

func TestAWatchThatEndsIsBegunAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics("v1", NewHealth(quiet))
		var begun atomic.Int64
		lost := make(chan struct{})
		s := &sick{ping: well}
		s.watch = func(ctx context.Context, tell func(stores.Event) error) error {
			return watchThen(make([]stores.LockInfo, begun.Add(1)), func(ctx context.Context) error {
				select {
				case <-lost:
					return errAway
				case <-ctx.Done():
					return ctx.Err()
				}
			})(ctx, tell)
		}
		attend(t, Telemetry{Metrics: m}, "c", s)
		synctest.Wait()
		for range 3 {
			if len(m.censuses.held()) != 1 {
				t.Error("not told while it is known")
			}
			lost <- struct{}{}
			synctest.Wait()
			if held := m.censuses.held(); len(held) != 0 {
				t.Errorf("while nobody watches: %v", held)
			}
			time.Sleep(firstPause) // which does not grow, since each watch has begun well
			synctest.Wait()
		}
		if got := begun.Load(); got != 4 {
			t.Errorf("begun %d times", got)
		}
	})
}

func TestTheLocksOfAStoreThatCannotBeWatchedAreAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics("v1", NewHealth(quiet))
		attend(t, Telemetry{Metrics: m}, "c", simple{})
		synctest.Wait()
		checkMetrics(t, m, "mortise_lock", "\n")
	})
}

func TestLocksOfStoresWithOneNameAreToldAsSoonAsAllAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics("v1", NewHealth(quiet))
		locks := []stores.LockInfo{{Key: "k", Owner: "ann"}, {Key: "l", Owner: "bob"}}
		known := make(chan struct{})
		one := &sick{watch: watchThen(locks[:1], untilEnd)}
		other := &sick{watch: func(ctx context.Context, tell func(stores.Event) error) error {
			<-known
			return watchThen(locks, untilEnd)(ctx, tell)
		}}
		attend(t, Telemetry{Metrics: m}, "c", one)
		leave := m.attend("c", other)
		synctest.Wait()
		if held := m.censuses.held(); len(held) != 0 {
			t.Errorf("before all are known: %v", held)
		}
		close(known)
		synctest.Wait()
		if held := m.censuses.held()[place{"c", "store"}]; held != 2 {
			t.Errorf("when both are: %d", held)
		}
		leave()
		if held := m.censuses.held()[place{"c", "store"}]; held != 1 {
			t.Errorf("when one has left: %d", held)
		}
	})
}

func TestLocksOfAStorageThatIsOpenTwiceCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := NewMetrics("v1", NewHealth(quiet)), openMemory(t)
		leave := m.attend("c", s)
		attend(t, Telemetry{Metrics: m}, "c", s)
		for round := range 2 {
			synctest.Wait()
			take(t, t.Context(), s, "brief", time.Second)
			take(t, t.Context(), s, "long", time.Hour)
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
