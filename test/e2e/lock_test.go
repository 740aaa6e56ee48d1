// One app with one sidecar.
package e2e

import (
	"fmt"
	"testing"
	"time"
)

// forEachStoreAndAPI runs the test for memory and for Redis, through the SDK and through
// HTTP, on one sidecar.
func forEachStoreAndAPI(t *testing.T, test func(t *testing.T, u user)) {
	t.Helper()
	r := newResources(t, memory("memory"), redis("redis", startRedis(t)))
	app := startSidecar(t, startMortise(t), "app", r)
	for _, store := range []string{"memory", "redis"} {
		for name, api := range app.apis() {
			t.Run(fmt.Sprintf("%s store, %s", store, name), func(t *testing.T) {
				test(t, user{t: t, api: api, store: store})
			})
		}
	}
}

func TestLock_Ownership(t *testing.T) {
	t.Parallel()
	forEachStoreAndAPI(t, func(t *testing.T, u user) {
		u.acquires("report", "alice")
		u.isRefused("report", "bob")
		u.isRefused("report", "alice")
		u.acquires("invoice", "bob")

		u.unlockReturns(belongsToOthers, "report", "bob")
		u.unlockReturns(doesNotExist, "letter", "bob")
		u.isRefused("report", "bob")

		u.unlocks("report", "alice")
		u.unlockReturns(doesNotExist, "report", "alice")
		u.acquires("report", "bob")

		u.unlocks("report", "bob")
		u.unlocks("invoice", "bob")
	})
}

func TestLock_Expiry(t *testing.T) {
	t.Parallel()
	forEachStoreAndAPI(t, func(t *testing.T, u user) {
		begin := time.Now()
		u.acquiresFor(1, "report", "alice")
		u.eventuallyTryLock(true, "report", "bob")
		// Redis measures time in whole milliseconds.
		if held := time.Since(begin); held < 990*time.Millisecond || held > 2*time.Second {
			t.Errorf("a lock with a TTL of 1s was held for %v", held)
		}
		u.unlockReturns(belongsToOthers, "report", "alice")
		u.unlocks("report", "bob")
	})
}

func TestLock_HTTPAnswers(t *testing.T) {
	t.Parallel()
	r := newResources(t, memory("memory"), redis("redis", startRedis(t)))
	app := startSidecar(t, startMortise(t), "app", r)
	steps := []struct{ verb, body, want string }{
		{"lock", `{"resourceId":"report","lockOwner":"alice","expiryInSeconds":60}`, `{"success":true}`},
		{"lock", `{"resourceId":"report","lockOwner":"bob","expiryInSeconds":60}`, `{"success":false}`},
		{"lock", `{"resource_id":"report","lock_owner":"bob","expiry_in_seconds":60}`, `{"success":false}`},
		{"unlock", `{"resourceId":"report","lockOwner":"bob"}`, `{"status":2}`},
		{"unlock", `{"resourceId":"letter","lockOwner":"bob"}`, `{"status":1}`},
		{"unlock", `{"resourceId":"report","lockOwner":"alice"}`, `{"status":0}`},
	}
	for _, store := range []string{"memory", "redis"} {
		for _, step := range steps {
			code, answer, err := app.http.post(t.Context(), step.verb, store, []byte(step.body))
			if err != nil || code != 200 || answer != step.want {
				t.Errorf("%s: %s %s: got %d %s, %v; want 200 %s", store, step.verb, step.body, code, answer, err, step.want)
			}
		}
	}
}
