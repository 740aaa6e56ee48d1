package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/mortise-lock/mortise/stores"
)

// checkMetrics checks the metrics whose names begin with the prefix, without histograms.
func checkMetrics(t *testing.T, m *Metrics, prefix, want string) {
	t.Helper()
	var got strings.Builder
	for line := range strings.Lines(scrape(t, m)) {
		if strings.HasPrefix(line, prefix) && !strings.Contains(line, "_seconds_") {
			got.WriteString(line)
		}
	}
	if strings.TrimSpace(got.String()) != strings.TrimSpace(want) {
		t.Errorf("metrics are\n%swant\n%s", got.String(), want)
	}
}

// useStore makes calls of each kind, with each outcome.
func useStore(ctx context.Context, t *testing.T, s stores.Store) {
	t.Helper()
	lock(ctx, t, s, "k", time.Minute)
	bob := stores.Request{Key: "k", Owner: "bob", TTL: time.Minute}
	brief, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	both := stores.MultiRequest{Keys: []string{"k", "l"}, Owner: "bob", TTL: time.Minute}
	for _, step := range []struct {
		what string
		err  error
		want error
	}{
		{"TryLock of a held lock", errorOf(stores.TryLock(ctx, s, bob)), nil},
		{"LockAll with a held lock", errorOf(stores.LockAll(ctx, s, both)), nil},
		{"Lock until the deadline", errorOf(stores.Lock(brief, s, bob)), context.DeadlineExceeded},
		{"Renew", errorOf(stores.Renew(ctx, s, stores.Request{Key: "k", Owner: "ann", TTL: time.Minute})), nil},
		{"Renew of another owner's lock", errorOf(stores.Renew(ctx, s, bob)), stores.ErrNotOwner},
		{"Unlock", s.Unlock(ctx, "k", "ann"), nil},
		{"Unlock of a free lock", s.Unlock(ctx, "k", "ann"), stores.ErrNotHeld},
		{"Renew of a free lock", errorOf(stores.Renew(ctx, s, bob)), stores.ErrNotHeld},
		{"Lock", errorOf(stores.Lock(ctx, s, bob)), nil},
		{"List", errorOf(stores.List(ctx, s, "")), nil},
		{"Ping", stores.Ping(ctx, s), nil},
	} {
		if !errors.Is(step.err, step.want) {
			t.Errorf("%s: %v", step.what, step.err)
		}
	}
}

// errorOf returns the error of a call.
func errorOf[A any](_ A, err error) error { return err }

const usedStoreMetrics = `
mortise_build_info{version="v1"} 1
mortise_calls_total{api="locks",component="c",operation="list",outcome="ok",store="memory"} 1
mortise_calls_total{api="locks",component="c",operation="lock",outcome="granted",store="memory"} 1
mortise_calls_total{api="locks",component="c",operation="lock",outcome="timeout",store="memory"} 1
mortise_calls_total{api="locks",component="c",operation="ping",outcome="ok",store="memory"} 1
mortise_calls_total{api="locks",component="c",operation="renew",outcome="not_held",store="memory"} 1
mortise_calls_total{api="locks",component="c",operation="renew",outcome="not_owner",store="memory"} 1
mortise_calls_total{api="locks",component="c",operation="renew",outcome="ok",store="memory"} 1
mortise_calls_total{api="locks",component="c",operation="try_lock",outcome="granted",store="memory"} 1
mortise_calls_total{api="locks",component="c",operation="try_lock",outcome="refused",store="memory"} 1
mortise_calls_total{api="locks",component="c",operation="try_lock_all",outcome="refused",store="memory"} 1
mortise_calls_total{api="locks",component="c",operation="unlock",outcome="not_held",store="memory"} 1
mortise_calls_total{api="locks",component="c",operation="unlock",outcome="ok",store="memory"} 1
mortise_component_up{component="c"} 1
mortise_leases_lost_total{component="c",store="memory"} 2
mortise_lock_expirations_total{component="c",store="memory"} 0
mortise_lock_revocations_total{component="c",store="memory"} 0
mortise_locks_held{component="c",store="memory"} 1
mortise_renewals_total{component="c",store="memory"} 1
mortise_store_errors_total{component="c",store="memory"} 0
mortise_waiters{component="c",store="memory"} 0
`

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := NewHealth(quiet)
		m := NewMetrics("v1", health)
		m.CountLockEvents()
		s := wrap(t, Telemetry{Health: health, Metrics: m}, "c", openMemory(t))
		useStore(WithAPI(t.Context(), Locks), t, s)
		synctest.Wait()
		checkMetrics(t, m, "mortise_", usedStoreMetrics)
		checkTimes(t, m)
	})
}

// checkTimes checks the durations after useStore. In a bubble they are exact: only the
// Lock until the deadline takes time.
func checkTimes(t *testing.T, m *Metrics) {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	calls, waits := map[string]string{}, map[string]string{}
	for _, f := range families {
		for _, one := range f.GetMetric() {
			h := one.GetHistogram()
			got := fmt.Sprint(h.GetSampleCount(), " in ", h.GetSampleSum())
			switch f.GetName() {
			case "mortise_call_duration_seconds":
				calls[labelOf(one, "api")+" "+labelOf(one, "operation")] = got
			case "mortise_wait_duration_seconds":
				waits[labelOf(one, "outcome")] = got
			}
		}
	}
	if got, want := fmt.Sprint(waits), "map[granted:1 in 0 timeout:1 in 3]"; got != want {
		t.Errorf("waits are %s, want %s", got, want)
	}
	want := "map[locks list:1 in 0 locks ping:1 in 0 locks renew:3 in 0 " +
		"locks try_lock:2 in 0 locks try_lock_all:1 in 0 locks unlock:2 in 0]"
	if got := fmt.Sprint(calls); got != want {
		t.Errorf("calls are %s, want %s", got, want)
	}
}

func labelOf(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func TestMetrics_LockEventsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics("v1", NewHealth(quiet))
		wrap(t, Telemetry{Metrics: m}, "c", &faultyStore{watch: func(context.Context, func(stores.Event) error) error {
			t.Error("the store is watched")
			return errDown
		}})
		s := wrap(t, Telemetry{Metrics: m}, "c", openMemory(t))
		lock(t.Context(), t, s, "k", time.Minute)
		synctest.Wait()
		checkMetrics(t, m, "mortise_lock", "\n")
	})
}

func TestMetrics_Waiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics("v1", NewHealth(quiet))
		s := wrap(t, Telemetry{Metrics: m}, "c", openMemory(t))
		lock(t.Context(), t, s, "k", time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		for _, owner := range []string{"bob", "eve"} {
			go func() {
				ended <- errorOf(stores.Lock(ctx, s, stores.Request{Key: "k", Owner: owner, TTL: time.Hour}))
			}()
		}
		synctest.Wait()
		waiters := m.waiters.WithLabelValues("c", "memory")
		if got := testutil.ToFloat64(waiters); got != 2 {
			t.Errorf("%v waiters, want 2", got)
		}
		cancel()
		for range 2 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if got := testutil.ToFloat64(waiters); got != 0 {
			t.Errorf("%v waiters after all have ended", got)
		}
	})
}

func TestMetrics_StoreErrors(t *testing.T) {
	for _, row := range []struct {
		op      stores.Operation
		outcome stores.Outcome
		want    float64
	}{
		{stores.OpTryLock, stores.OutcomeFailed, 1},
		{stores.OpRenew, stores.OutcomeFailed, 1},
		{stores.OpLock, stores.OutcomeFailed, 1},
		{stores.OpWatch, stores.OutcomeFailed, 1},
		{stores.OpUnlock, stores.OutcomeTimedOut, 1},
		{stores.OpLock, stores.OutcomeTimedOut, 0},
		{stores.OpWatch, stores.OutcomeTimedOut, 0},
		{stores.OpTryLock, stores.OutcomeRefused, 0},
		{stores.OpTryLock, stores.OutcomeOf(context.Canceled), 0},
		{stores.OpUnlock, stores.OutcomeNotHeld, 0},
		{stores.OpUnlock, stores.OutcomeOf(stores.ErrClosed), 0},
	} {
		m := NewMetrics("v1", NewHealth(quiet))
		_, end := m.forStore("c", "s").Begin(t.Context(), row.op)
		end(row.outcome)
		if got := testutil.ToFloat64(m.errors); got != row.want {
			t.Errorf("%s of %s counts %v", row.outcome, row.op, got)
		}
	}
}

func TestMetrics_Watch(t *testing.T) {
	m := NewMetrics("v1", NewHealth(quiet))
	_, end := m.forStore("c", "s").Begin(t.Context(), stores.OpWatch)
	end(stores.OutcomeDone)
	if got := testutil.ToFloat64(m.calls); got != 1 {
		t.Errorf("%v calls are counted", got)
	}
	if n := testutil.CollectAndCount(m.durations) + testutil.CollectAndCount(m.waits); n != 0 {
		t.Errorf("%d durations are observed", n)
	}
}

func TestMetrics_Lint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := NewHealth(quiet)
		m := NewMetrics("v1", health)
		m.CountLockEvents()
		s := wrap(t, Telemetry{Health: health, Metrics: m}, "c", openMemory(t))
		useStore(t.Context(), t, s)
		synctest.Wait()
		problems, err := testutil.GatherAndLint(m.registry)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
		body := scrape(t, m)
		for _, name := range []string{
			"go_goroutines", "process_open_fds", "mortise_locks_held", "mortise_call_duration_seconds_bucket",
		} {
			if !strings.Contains(body, "\n"+name) {
				t.Errorf("%s is missing", name)
			}
		}
	})
}

// secret is part of keys, owners and metadata, which must not be exported.
const secret = "xyzzy"

func TestMetrics_NoKeysOrOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newLockEventMetrics()
		s := wrap(t, Telemetry{Metrics: m}, "c", openMemory(t))
		ask := stores.Request{Key: secret + "1", Owner: secret + "2", TTL: time.Minute, Metadata: map[string]string{"for": secret}}
		if _, err := stores.TryLock(t.Context(), s, ask); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if body := scrape(t, m); strings.Contains(body, secret) {
			t.Errorf("exported in %s", body)
		}
	})
}

// scrape returns the metrics as Prometheus gets them.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d, %v", w.Code, err)
	}
	return string(body)
}
