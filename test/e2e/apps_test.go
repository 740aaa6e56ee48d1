// Several apps, each with its own daprd.
package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

func TestSidecars_SeparateByDefault(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	r := newResources(t, memory("memory"), redis("redis", startRedis(t)))
	shop, office := startSidecar(t, m, "shop", r), startSidecar(t, m, "office", r)
	for _, store := range []string{"memory", "redis"} {
		alice, bob := shop.user(t, store), office.user(t, store)
		alice.acquires("report", "alice")
		bob.unlockReturns(doesNotExist, "report", "alice")
		bob.acquires("report", "bob")
		alice.unlocks("report", "alice")
		bob.isRefused("report", "carol")
		bob.unlocks("report", "bob")
	}
}

func TestSidecars_SharedKeyPrefix(t *testing.T) {
	t.Parallel()
	m, server := startMortise(t), startRedis(t)
	for _, prefix := range []string{"none", "name", "depot"} {
		r := newResources(t,
			memory("memory-"+prefix).with("keyPrefix", prefix),
			redis("redis-"+prefix, server).with("keyPrefix", prefix))
		shop, office := startSidecar(t, m, "shop", r), startSidecar(t, m, "office", r)
		for _, storage := range []string{"memory-", "redis-"} {
			alice, bob := shop.user(t, storage+prefix), office.user(t, storage+prefix)
			alice.acquires("report", "alice")
			bob.isRefused("report", "bob")
			bob.unlockReturns(belongsToOthers, "report", "bob")
			// A caller that knows the owner may act as the owner.
			bob.unlocks("report", "alice")
			bob.acquires("report", "bob")
			alice.isRefused("report", "alice")
		}
	}
}

func TestSidecars_DifferentKeyPrefix(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	own := startSidecar(t, m, "shop", newResources(t, memory("locks"))).user(t, "locks")
	own.acquires("report", "alice")
	shared := startSidecar(t, m, "office", newResources(t, memory("locks").with("keyPrefix", "none"))).user(t, "locks")
	shared.acquires("report", "bob")
	own.isRefused("report", "carol")
	shared.isRefused("report", "carol")
}

func TestSidecars_SameComponentName(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	shop := startSidecar(t, m, "shop", newResources(t, redis("locks", startRedis(t)).with("keyPrefix", "none"))).user(t, "locks")
	shop.acquires("report", "alice")
	office := startSidecar(t, m, "office", newResources(t, memory("locks").with("keyPrefix", "none"))).user(t, "locks")
	office.acquires("report", "bob")
	shop.isRefused("report", "carol")
	shop.unlocks("report", "alice")
	office.isRefused("report", "carol")
}

// Each host has its own Mortise, and all share one Redis. Every worker increments a
// number that only the lock protects.
func TestHosts_SharedRedis(t *testing.T) {
	t.Parallel()
	const hosts, workers, rounds = 2, 4, 5
	r := newResources(t, redis("locks", startRedis(t)).with("keyPrefix", "none"))
	var (
		inside, number atomic.Int32
		group          sync.WaitGroup
	)
	for host := range hosts {
		app := startSidecar(t, startMortise(t), fmt.Sprintf("app%d", host), r)
		for worker := range workers {
			name := fmt.Sprintf("%d.%d", host, worker)
			group.Go(func() {
				for range rounds {
					if err := incrementLocked(t.Context(), app.sdk, name, &inside, &number); err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
				}
			})
		}
	}
	group.Wait()
	if got := number.Load(); !t.Failed() && got != hosts*workers*rounds {
		t.Errorf("the number is %d, want %d", got, hosts*workers*rounds)
	}
}

// incrementLocked retries until it holds the lock, then increments the number in two
// steps.
func incrementLocked(ctx context.Context, d api, owner string, inside, number *atomic.Int32) error {
	for granted := false; !granted; {
		var err error
		if granted, err = d.tryLock(ctx, "locks", request{"counter", owner, minute}); err != nil {
			return err
		}
	}
	if others := inside.Add(1) - 1; others != 0 {
		return fmt.Errorf("%d others hold the lock", others)
	}
	number.Store(number.Load() + 1)
	inside.Add(-1)
	if got, err := d.unlock(ctx, "locks", request{resource: "counter", owner: owner}); err != nil || got != unlocked {
		return fmt.Errorf("unlock: %d, %w", got, err)
	}
	return nil
}
