// A Mortise that dies, or is replaced, under a running daprd.
package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// returnLimit is how long the first call after Mortise's return may take.
const returnLimit = 3 * time.Second

// moment is long enough for daprd to see that its connection has ended. A call that is
// sent before may fail: whether Mortise has granted it nobody knows.
const moment = 200 * time.Millisecond

func TestTheFirstCallAfterACrashOfMortiseSucceeds(t *testing.T) {
	t.Parallel()
	for _, knows := range []bool{true, false} {
		// gRPC waits longer after each failure to connect; 8s is past the point where
		// that would exceed the limit.
		for _, absence := range []time.Duration{moment, 8 * time.Second} {
			name := fmt.Sprintf("back after %v without a resources path", absence)
			if knows {
				name = fmt.Sprintf("back after %v with a resources path", absence)
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				survive(t, knows, absence)
			})
		}
	}
}

// survive kills a Mortise that knows its components from a resources path, or not, and
// expects much of its return.
func survive(t *testing.T, knows bool, absence time.Duration) {
	r := newResources(t, memory("memory"), redis("redis", startRedis(t)))
	var args []string
	if knows {
		args = []string{"--resources-path", r.path}
	}
	m := startMortise(t, args...)
	app := startSidecar(t, m, "app", r)
	inMemory, inRedis := app.user(t, "memory"), app.user(t, "redis")
	inMemory.takes("report", "alice")
	inRedis.takes("report", "alice")

	m.crash(absence)
	m.start(t)

	within(t, returnLimit, func() { inRedis.isRefused("report", "bob") })
	within(t, returnLimit, func() { inMemory.takes("report", "bob") }) // memory has forgotten, as documented
	inRedis.frees("report", "alice")
	inMemory.gets(belongsToOthers, "report", "alice")
	if reopened := app.line("has restarted, initializing it again") != ""; reopened == knows {
		t.Errorf("daprd initialized the components again: %t, want %t", reopened, !knows)
	}
}

func TestACallDuringMortisesAbsenceWaitsForItAndNotForLong(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	app := startSidecar(t, m, "app", newResources(t, memory("locks")))
	u := app.user(t, "locks")

	m.crash(moment)
	within(t, returnLimit+time.Second, func() {
		u.fails(request{"report", "alice", minute}, "no connection to component", "mortise.sock")
	})

	// A call of its own goroutine is on its way before a process has started.
	granted := make(chan error, 1)
	go func() {
		ok, err := u.api.tryLock(context.Background(), "locks", request{"report", "alice", minute})
		if err == nil && !ok {
			err = fmt.Errorf("refused")
		}
		granted <- err
	}()
	m.start(t)
	within(t, returnLimit, func() {
		if err := <-granted; err != nil {
			t.Errorf("the call that waited: %v", err)
		}
	})
	u.isRefused("report", "bob")
}

func TestASidecarThatStartsBesideADeadMortiseWaitsForIt(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	m.kill() // its socket file stays
	app := launchSidecar(t, m.folder, "app", newResources(t, memory("locks")))
	app.says("Initialized name resolution") // what it does before it looks for sockets
	m.start(t)
	app.await(t)
	app.user(t, "locks").takes("report", "alice")
}

func TestAPasswordInASecretStoreOutlivesACrashOfMortise(t *testing.T) {
	t.Parallel()
	r := newResources(t)
	r.writeSecretly(redis("locks", startRedis(t)), "redisPassword")
	m := startMortise(t, "--resources-path", r.path)
	m.says(`Leaving component \"locks\" to daprd`)
	u := startSidecar(t, m, "app", r).user(t, "locks")
	u.takes("report", "alice")

	m.crash(moment)
	m.start(t)
	u.isRefused("report", "bob")
	u.frees("report", "alice")
}

func TestRestartGraceKeepsALostMemorysLocksFromBeingGranted(t *testing.T) {
	t.Parallel()
	m := startMortise(t)
	u := startSidecar(t, m, "app", newResources(t, memory("locks").with("restartGrace", "2s"))).user(t, "locks")
	u.soon(true, "report", "alice") // the grace counts from the first start too

	m.crash(moment)
	begin := time.Now()
	m.start(t)
	u.isRefused("report", "bob")
	u.soon(true, "report", "bob")
	if grace := time.Since(begin); grace < 2*time.Second {
		t.Errorf("granted %v after the crash, want at least the grace of 2s", grace)
	}
}

func TestReplacingMortiseLosesNoCall(t *testing.T) {
	t.Parallel()
	replace(t, 3, func(u user) {
		u.takes("probe", "bob")
		u.frees("probe", "bob")
	})
}

// Here a Mortise may end before daprd is done with initializing it.
func TestReplacingMortiseInQuickSuccessionLosesNoCall(t *testing.T) {
	t.Parallel()
	replace(t, 10, func(user) {})
}

// replace ends Mortise in order and starts another, some times over, and does something
// after each time. Meanwhile other users call.
func replace(t *testing.T, times int, each func(user)) {
	t.Helper()
	m := startMortise(t)
	app := startSidecar(t, m, "app", newResources(t, redis("locks", startRedis(t))))
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for worker := range 4 {
		resource := fmt.Sprintf("report%d", worker)
		workers.Go(func() {
			if err := takeAndFree(ctx, app.sdk, resource); err != nil {
				t.Errorf("%s: %v", resource, err)
			}
		})
	}
	defer workers.Wait()
	defer stop()
	for range times {
		if code := m.terminate(); code != 0 {
			t.Errorf("mortise ended with code %d", code)
		}
		m.start(t)
		each(app.user(t, "locks"))
	}
}

// takeAndFree takes and gives back a lock until ctx ends. The calls themselves are not
// cut short.
func takeAndFree(ctx context.Context, d api, resource string) error {
	for whole := context.Background(); ctx.Err() == nil; {
		if granted, err := d.tryLock(whole, "locks", request{resource, "alice", minute}); err != nil || !granted {
			return fmt.Errorf("take: %t, %w", granted, err)
		}
		if got, err := d.unlock(whole, "locks", request{resource: resource, owner: "alice"}); err != nil || got != unlocked {
			return fmt.Errorf("free: %d, %w", got, err)
		}
	}
	return nil
}
