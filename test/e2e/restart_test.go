// A Mortise that crashes, or is replaced, while daprd runs.
package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// reconnectLimit is the time limit of the first call after a restart of Mortise.
const reconnectLimit = 3 * time.Second

// disconnectTime is long enough for daprd to detect that its connection has ended. A call
// that is sent earlier may fail, because its outcome is unknown.
const disconnectTime = 200 * time.Millisecond

func TestCrash_FirstCallSucceeds(t *testing.T) {
	t.Parallel()
	for _, withPath := range []bool{true, false} {
		// gRPC waits longer after each failure to connect; 8s is past the point where
		// that would exceed the limit.
		for _, absence := range []time.Duration{disconnectTime, 8 * time.Second} {
			name := fmt.Sprintf("restart after %v without a resources path", absence)
			if withPath {
				name = fmt.Sprintf("restart after %v with a resources path", absence)
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				testCrash(t, withPath, absence)
			})
		}
	}
}

// testCrash kills a Mortise with or without a resources path, and checks the calls after
// its restart.
func testCrash(t *testing.T, withPath bool, absence time.Duration) {
	r := newResources(t, memory("memory"), redis("redis", startRedis(t)))
	var args []string
	if withPath {
		args = []string{"--resources-path", r.path}
	}
	m := startMortise(t, args...)
	app := startSidecar(t, m, "app", r)
	inMemory, inRedis := app.user(t, "memory"), app.user(t, "redis")
	inMemory.acquires("report", "alice")
	inRedis.acquires("report", "alice")

	m.crash(absence)
	m.start(t)

	within(t, reconnectLimit, func() { inRedis.isRefused("report", "bob") })
	// The memory store has lost the lock, as documented.
	within(t, reconnectLimit, func() { inMemory.acquires("report", "bob") })
	inRedis.unlocks("report", "alice")
	inMemory.unlockReturns(belongsToOthers, "report", "alice")
	if reopened := app.line("Initializing pluggable lock store") != ""; reopened == withPath {
		t.Errorf("daprd initialized the components again: %t, want %t", reopened, !withPath)
	}
}

func TestCrash_CallWaits(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	app := startSidecar(t, m, "app", newResources(t, memory("locks")))
	u := app.user(t, "locks")

	m.crash(disconnectTime)
	within(t, reconnectLimit+time.Second, func() {
		u.fails(request{"report", "alice", minute}, "no connection to component", "mortise.sock")
	})

	// A call in another goroutine waits before the process has started.
	granted := make(chan error, 1)
	go func() {
		ok, err := u.api.tryLock(context.Background(), "locks", request{"report", "alice", minute})
		if err == nil && !ok {
			err = fmt.Errorf("refused")
		}
		granted <- err
	}()
	m.start(t)
	within(t, reconnectLimit, func() {
		if err := <-granted; err != nil {
			t.Errorf("waiting call: %v", err)
		}
	})
	u.isRefused("report", "bob")
}

func TestCrash_SidecarStarts(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	m.kill() // its socket file remains
	app := launchSidecar(t, m.folder, "app", newResources(t, memory("locks")))
	// Logged before daprd searches for sockets.
	app.awaitLine("Initialized name resolution")
	m.start(t)
	app.awaitReady(t)
	app.user(t, "locks").acquires("report", "alice")
}

func TestCrash_SecretStore(t *testing.T) {
	t.Parallel()
	r := newResources(t)
	r.writeSecretly(redis("locks", startRedis(t)), "redisPassword")
	m := startMortise(t, "--resources-path", r.path)
	m.awaitLine(`Leaving component \"locks\" to daprd`)
	u := startSidecar(t, m, "app", r).user(t, "locks")
	u.acquires("report", "alice")

	m.crash(disconnectTime)
	m.start(t)
	u.isRefused("report", "bob")
	u.unlocks("report", "alice")
}

func TestCrash_RestartGrace(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	u := startSidecar(t, m, "app", newResources(t, memory("locks").with("restartGrace", "2s"))).user(t, "locks")
	// The grace also applies to the first start.
	u.eventuallyTryLock(true, "report", "alice")

	m.crash(disconnectTime)
	begin := time.Now()
	m.start(t)
	u.isRefused("report", "bob")
	u.eventuallyTryLock(true, "report", "bob")
	if grace := time.Since(begin); grace < 2*time.Second {
		t.Errorf("granted %v after the crash, want at least the grace of 2s", grace)
	}
}

func TestReplace_LosesNoCall(t *testing.T) {
	t.Parallel()
	testReplace(t, 3, func(u user) {
		u.acquires("probe", "bob")
		u.unlocks("probe", "bob")
	})
}

// In this test a Mortise may end before daprd has initialized it.
func TestReplace_QuickSuccession(t *testing.T) {
	t.Parallel()
	testReplace(t, 10, func(user) {})
}

// testReplace terminates Mortise and starts another one, several times, and calls each
// after each replacement. Meanwhile other users call.
func testReplace(t *testing.T, times int, each func(user)) {
	t.Helper()
	m := startMortise(t)
	app := startSidecar(t, m, "app", newResources(t, redis("locks", startRedis(t))))
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for worker := range 4 {
		resource := fmt.Sprintf("report%d", worker)
		workers.Go(func() {
			if err := lockUntilDone(ctx, app.sdk, resource); err != nil {
				t.Errorf("%s: %v", resource, err)
			}
		})
	}
	defer workers.Wait()
	defer stop()
	for range times {
		if code := m.terminate(); code != 0 {
			t.Errorf("mortise: got exit code %d, want 0", code)
		}
		m.start(t)
		each(app.user(t, "locks"))
	}
}

// lockUntilDone acquires and releases a lock until ctx ends, which does not cancel a
// call.
func lockUntilDone(ctx context.Context, d api, resource string) error {
	for whole := context.Background(); ctx.Err() == nil; {
		if granted, err := d.tryLock(whole, "locks", request{resource, "alice", minute}); err != nil || !granted {
			return fmt.Errorf("lock: %t, %w", granted, err)
		}
		if got, err := d.unlock(whole, "locks", request{resource: resource, owner: "alice"}); err != nil || got != unlocked {
			return fmt.Errorf("unlock: %d, %w", got, err)
		}
	}
	return nil
}
