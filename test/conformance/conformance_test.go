package conformance

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// harness describes the memory store and broken stores.
func harness(storage func(t testing.TB) func() stores.Store) Harness {
	return Harness{
		Storage:  storage,
		Features: allFeatures(),
		MinTTL:   time.Millisecond,
		Checked:  true,
		Bubble:   true,
	}
}

// allFeatures returns the abilities of the memory store.
func allFeatures() []string {
	return []string{"DECLARE", "FENCING", "LIST", "MULTI", "PING", "RENEW", "REVOKE", "WAIT", "WATCH"}
}

// checkedStorage opens memory stores with validated arguments.
func checkedStorage(t testing.TB) func() stores.Store { return broken{inject: checked}.storage(t) }

// newMemory returns a function that opens clients of a new memory storage.
func newMemory(t testing.TB) func() *memory.Store {
	backend := memory.NewProcess().Backend()
	return func() *memory.Store {
		s, err := backend.Open(t.Context(), stores.Component{Name: "locks", Log: logger.NewLogger("test")})
		if err != nil {
			t.Fatal(err)
		}
		return s.(*memory.Store)
	}
}

func TestRun(t *testing.T) {
	Run(t, harness(checkedStorage))
}

func TestRun_RealTime(t *testing.T) {
	t.Parallel()
	h := harness(checkedStorage)
	h.Bubble = false
	h.MinTTL = 20 * time.Millisecond
	h.Slack = 100 * time.Millisecond
	Run(t, h)
}

func TestRun_NoAbilities(t *testing.T) {
	h := harness(func(t testing.TB) func() stores.Store {
		open := checkedStorage(t)
		return func() stores.Store { return struct{ stores.Store }{open()} }
	})
	h.Features = []string{"FENCING"}
	Run(t, h)
}

// TestRun_Repeated runs the rows as often as there are broken stores that must fail them.
func TestRun_Repeated(t *testing.T) {
	if os.Getenv("MORTISE_TEST_ALL") == "" {
		t.Skip("repeats TestRun: set MORTISE_TEST_ALL=1 to run it")
	}
	h := harness(checkedStorage)
	for _, broken := range brokenStores() {
		for _, name := range broken.rows {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				rowNamed(t, name).report(t, h)
			})
		}
	}
}

// Each row needs a broken store that fails it. The memory store must pass it, which
// TestRun checks.
func TestRows_FailBrokenStores(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	slots := make(chan struct{}, concurrentRows)
	for _, broken := range brokenStores() {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			t.Run(broken.name, func(t *testing.T) {
				for _, name := range broken.rows {
					if err := rowNamed(t, name).run(t, broken.harness()); err == nil {
						t.Errorf("%q passes a store that %s", name, broken.name)
					} else {
						t.Logf("%s: %v", name, err)
					}
				}
			})
		})
	}
	group.Wait()
}

func TestRows_HaveBrokenStores(t *testing.T) {
	var broken []string
	for _, b := range brokenStores() {
		broken = append(broken, b.rows...)
	}
	for _, r := range rows() {
		if !slices.Contains(broken, r.name) {
			t.Errorf("no broken store fails %q", r.name)
		}
	}
}

func TestRows_NameAndRule(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows() {
		if seen[r.name] {
			t.Errorf("two rows are called %q", r.name)
		}
		seen[r.name] = true
		if !strings.HasSuffix(r.rule, ".") || r.check == nil {
			t.Errorf("%q has the rule %q, which must end in a full stop, and must have a check", r.name, r.rule)
		}
	}
}

func TestHarness_Declares(t *testing.T) {
	for _, c := range []struct {
		name string
		h    Harness
		need []string
		want bool
	}{
		{"no needs", Harness{}, nil, true},
		{"an ability of the store", Harness{Features: []string{"LIST"}}, []string{needList}, true},
		{"an ability the store lacks", Harness{Features: []string{"LIST"}}, []string{needRenew}, false},
		{"one of two abilities", Harness{Features: []string{"LIST"}}, []string{needList, needRenew}, false},
		{"any bytes", Harness{}, []string{needAnyBytes}, true},
		{"validated arguments", Harness{Checked: true}, []string{needChecks}, true},
		{"arguments that are not validated", Harness{}, []string{needChecks}, false},
		{"any bytes with UTF8 set", Harness{UTF8: true}, []string{needAnyBytes}, false},
	} {
		if got := c.h.declares(c.need); got != c.want {
			t.Errorf("%s: declares is %v, want %v", c.name, got, c.want)
		}
	}
}

func rowNamed(t *testing.T, name string) row {
	t.Helper()
	i := slices.IndexFunc(rows(), func(r row) bool { return r.name == name })
	if i < 0 {
		t.Fatalf("there is no row %q", name)
	}
	return rows()[i]
}
