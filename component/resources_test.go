package component

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/instances"
	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/all"
	"github.com/mortise-lock/mortise/stores/memory"
)

const componentHead = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: locks\nspec:\n  type: lock.mortise\n"

// writeFiles writes the files, by name, to a new folder.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// unreachable is a storage that is reachable once the channel is closed.
type unreachable chan struct{}

// registry returns a registry with the memory store and one called unreachable.
func (u unreachable) registry() *stores.Registry {
	r := all.Backends("memory")
	r.Register("unreachable", stores.Backend{Config: &memory.Config{}, Open: func(ctx context.Context, c stores.Component) (stores.Store, error) {
		select {
		case <-u:
			return memory.NewProcess().Backend().Open(ctx, c)
		default:
			return nil, fmt.Errorf("unreachable: connect: connection refused: %w", stores.ErrUnreachable)
		}
	}})
	return r
}

// openDir opens the components of a folder. app is the own app, or empty if there is
// none.
func openDir(t *testing.T, app string, files map[string]string) (*instances.Set, []Component, error) {
	t.Helper()
	log := logger.NewLogger("test")
	set := instances.New(make(unreachable).registry(), log)
	t.Cleanup(func() { _ = set.Close() })
	s := newServices(set, log)
	t.Cleanup(s.close)
	o := Options{Name: "mortise", ResourcePaths: []string{writeFiles(t, files)}}
	o.TCP.Dapr.AppID = app
	served, err := s.open(t.Context(), o, log)
	return set, served, err
}

// isOpen reports whether the component is open.
func isOpen(set *instances.Set, name string) bool {
	return set.Do(context.Background(), name, func(stores.Store) error { return nil }) == nil
}

// componentYAML returns a component with the name and more lines. Those that begin with
// two spaces belong to spec.
func componentYAML(name string, lines ...string) string {
	return strings.Replace(componentHead, "name: locks", "name: "+name, 1) + strings.Join(append(lines, ""), "\n")
}

const (
	brokenMetadata      = "  metadata: [{name: store, value: paper}]"
	unreachableMetadata = "  metadata: [{name: store, value: unreachable}]"
)

// resourceRows are resource files, and what becomes of their components.
var resourceRows = []struct {
	name  string
	app   string
	files []string
	open  []string // the components that are open
	left  []string // those that are left to daprd
}{
	{"several in a file", "", []string{componentYAML("a") + "---\n" + componentYAML("b", "  version: V1") + "---\n---\n"},
		[]string{"a", "b"}, nil},
	{"other types", "", []string{componentYAML("a"), strings.Replace(componentYAML("b"), "lock.mortise", "state.redis", 1)}, []string{"a"}, nil},
	{"a type in another case", "", []string{strings.Replace(componentYAML("a"), "lock.mortise", "lock.Mortise", 1)}, []string{"a"}, nil},
	{"no name", "", []string{componentYAML(`""`), componentYAML("a")}, []string{"a"}, nil},
	{"invalid documents beside a valid one", "", []string{"a: [", componentYAML("a"), componentYAML("b", "scopes: shop")}, []string{"a"}, nil},
	{"namespaces", "", []string{
		strings.Replace(componentYAML("a", brokenMetadata), "name: a", "name: a\n  namespace: production", 1),
		strings.Replace(componentYAML("a"), "name: a", "name: a\n  namespace: staging", 1),
	}, []string{"a"}, nil},

	{"a secret", "", []string{componentYAML("a", "  metadata: [{name: restartGrace, secretKeyRef: {name: a, key: b}}]")}, nil, []string{"a"}},
	{"a variable", "", []string{componentYAML("a", "  metadata: [{name: restartGrace, envRef: LOCK_GRACE}]")}, []string{"a"}, nil},
	{"a variable that is not set", "", []string{componentYAML("a", "  metadata: [{name: restartGrace, envRef: LOCK_GRACE_2}]")},
		nil, []string{"a"}},
	{"a placeholder", "", []string{componentYAML("a", "  metadata: [{name: restartGrace, value: '{uuid}'}]")}, nil, []string{"a"}},
	{"a placeholder in keyPrefix", "", []string{componentYAML("a", "  metadata: [{name: keyPrefix, value: '{appID}'}]")}, []string{"a"}, nil},

	{"ignored errors", "shop", []string{componentYAML("a", brokenMetadata, "  ignoreErrors: true"), componentYAML("b")}, []string{"b"}, nil},
	{"ignored errors of a storage that is down", "", []string{componentYAML("a", unreachableMetadata, "  ignoreErrors: true"), componentYAML("b")},
		[]string{"b"}, nil},
	{"ignored errors of a type", "", []string{
		strings.Replace(componentYAML("a", "  ignoreErrors: true"), "lock.", "Lock.", 1), componentYAML("b"),
	}, []string{"b"}, nil},
	{"errors of another app", "shop", []string{componentYAML("a", unreachableMetadata, "scopes: [bank]"), componentYAML("b")}, []string{"b"}, nil},
	{"errors of an app, without an own app", "", []string{componentYAML("a", unreachableMetadata, "scopes: [bank]"), componentYAML("b")},
		[]string{"b"}, nil},
	{"a component of another app", "shop", []string{componentYAML("a", "scopes: [bank]")}, []string{"a"}, nil},

	{"one name for two apps", "", []string{componentYAML("a", "scopes: [shop]"), componentYAML("a", "scopes: [bank]")}, nil, []string{"a", "a"}},
	{"one name for two apps, one of them the own app", "shop", []string{componentYAML("a", "scopes: [bank]"), componentYAML("a", "scopes: [shop]")},
		[]string{"a"}, []string{"a"}},
	{"one name for one app, and for every app", "", []string{componentYAML("a", "scopes: [shop]"), componentYAML("a")},
		nil, []string{"a", "a"}},
	{"one name for two apps, in other types", "", []string{
		componentYAML("a", "scopes: [shop]"), strings.Replace(componentYAML("a", "scopes: [bank]"), "lock.mortise", "state.redis", 1),
	}, []string{"a"}, nil},
	{"one name for a lock and a binding", "", []string{
		componentYAML("a", "scopes: [shop]"), strings.Replace(componentYAML("a", "scopes: [bank]"), "lock.", "bindings.", 1),
	}, nil, []string{"a"}},
}

func TestServices_Open(t *testing.T) {
	t.Setenv("NAMESPACE", "staging")
	t.Setenv("LOCK_GRACE", "3s")
	for _, row := range resourceRows {
		t.Run(row.name, func(t *testing.T) {
			files := map[string]string{}
			for i, text := range row.files {
				files[fmt.Sprintf("%d.yaml", i)] = text
			}
			set, served, err := openDir(t, row.app, files)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"a", "b", "", "locks"} {
				if got := isOpen(set, name); got != slices.Contains(row.open, name) {
					t.Errorf("component %q is open: %v", name, got)
				}
			}
			var names []string
			for _, c := range served {
				names = append(names, c.Name)
			}
			want := slices.Concat(row.open, row.left)
			if slices.Sort(want); !slices.Equal(slices.Sorted(slices.Values(names)), want) {
				t.Errorf("served components are %q, want %q", names, want)
			}
		})
	}
}

func TestServices_OpenErrors(t *testing.T) {
	for _, row := range []struct {
		name  string
		app   string
		text  string
		wants []string // in the error
	}{
		{"another version", "", componentYAML("a", "  version: v2"), []string{"f.yaml", `"a"`, "spec.version must be v1"}},
		{"a category in another case", "", strings.Replace(componentHead, "lock.", "Lock.", 1), []string{"f.yaml", `"locks"`, "spec.type must begin"}},
		{"an unknown key", "", componentYAML("a", "  metadata: [{name: restartGrase, value: 3}]"), []string{"f.yaml", `"a"`, "restartGrace"}},
		{"a bad value", "", componentYAML("a", "  metadata: [{name: restartGrace, value: soon}]"), []string{"f.yaml", "restartGrace"}},
		{"an unknown store", "", componentYAML("a", brokenMetadata), []string{"f.yaml", "memory, redis"}},
		{"a storage that is down", "", componentYAML("a", unreachableMetadata), []string{"f.yaml", `"a"`, "connection refused"}},
		{"a storage that is down, for the own app", "shop", componentYAML("a", unreachableMetadata, "scopes: [shop]"), []string{"f.yaml", `"a"`, "connection refused"}},
		{"no time to open it", "", componentYAML("a", "  initTimeout: 0s"), []string{"f.yaml", `"a"`, "deadline exceeded"}},
		{"a separator in keyPrefix", "", componentYAML("a", "  metadata: [{name: keyprefix, value: 'a||b'}]"), []string{"f.yaml", "keyPrefix", "||"}},
		{"one name twice", "", componentYAML("a") + "---\n" + componentYAML("a"), []string{"f.yaml", `with the name "a"`}},
		{"one name twice, for the own app", "shop", componentYAML("a", "scopes: [shop]") + "---\n" + componentYAML("a", "scopes: [bank]"),
			[]string{"f.yaml", `with the name "a"`}},
		{"one name twice, once for another app", "", componentYAML("a") + "---\n" + componentYAML("a", "scopes: [bank]"),
			[]string{"f.yaml", `with the name "a"`}},
		{"one name twice, in other types", "", componentYAML("a") + "---\n" + strings.Replace(componentYAML("a"), "lock.", "state.", 1),
			[]string{"f.yaml", `with the name "a"`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, _, err := openDir(t, row.app, map[string]string{"f.yaml": row.text})
			for _, want := range append(row.wants, "resources path: ") {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
	t.Run("a path that does not exist", func(t *testing.T) {
		_, err := runWithResources(t, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = startRun(t, Options{Folder: t.TempDir(), ResourcePaths: []string{"/does/not/exist"}}, all.Backends("memory"))
		if err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
			t.Errorf("got %v", err)
		}
	})
}

// TestRun_SameNameInTwoFolders checks that Mortise leaves a component to daprd if two
// folders, which may be those of two sidecars, define it differently.
func TestRun_SameNameInTwoFolders(t *testing.T) {
	paths := []string{
		writeFiles(t, map[string]string{"a.yaml": componentYAML("a")}),
		writeFiles(t, map[string]string{"a.yaml": componentYAML("a", "  metadata: [{name: restartGrace, value: 3s}]")}),
	}
	r, err := startRun(t, Options{Folder: t.TempDir(), ResourcePaths: paths}, all.Backends("memory"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryLock(t, lockpb.NewLockStoreClient(r.connect(t)), "a", "k"); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("before Init: %v", err)
	}
	own := Options{Folder: t.TempDir(), ResourcePaths: paths, TCP: TCPOptions{Dapr: DaprOptions{AppID: "shop"}}}
	if _, err := startRun(t, own, all.Backends("memory")); err == nil || !strings.Contains(err.Error(), `with the name "a"`) {
		t.Errorf("with an own app: %v", err)
	}
}

func TestLoadedResources_Properties(t *testing.T) {
	for placeholder, left := range map[string]bool{
		"{appID}": true, "{podName}": true, "{namespace}": true, "{uuid}": true, "{appid}": false, "appID": false,
	} {
		file := filepath.Join(writeFiles(t, map[string]string{"f.yaml": componentHead + "  metadata:\n" +
			"  - {name: plain, value: v}\n  - {name: KeyPrefix, value: '{appID}'}\n  - {name: filled, value: 'secret " + placeholder + "'}\n"}), "f.yaml")
		l, err := Options{Name: "mortise", ResourcePaths: []string{file}}.load(logger.NewLogger("test"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.properties(lockCategory, l.components[0])
		// Placeholders in keyPrefix do not matter, because stores ignore it.
		want := map[string]string{"plain": "v", "KeyPrefix": "{appID}"}
		if !left {
			want["filled"] = "secret " + placeholder
		}
		if !maps.Equal(got, want) || isLeftToDaprd(err) != left {
			t.Errorf("%s: got %q, %v", placeholder, got, err)
		}
		if left && err.Error() != "metadata key filled: "+placeholder+" differs between daprds" {
			t.Errorf("%s: %v", placeholder, err)
		}
	}
}

func TestRun_StartDegraded(t *testing.T) {
	storage := make(unreachable)
	addr := freePort(t)
	o := Options{Folder: t.TempDir(), StartDegraded: true, TCP: TCPOptions{MetricsAddress: addr}}
	o.ResourcePaths = []string{writeFiles(t, map[string]string{
		"1.yaml": componentYAML("late", unreachableMetadata), "2.yaml": componentYAML("locks"),
		"3.yaml": strings.Replace(componentYAML("events", unreachableMetadata), "lock.", "bindings.", 1),
	})}
	r, err := startRun(t, o, storage.registry())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, process: r, tcp: o.TCP, socket: r.connect(t)}
	locks := lockpb.NewLockStoreClient(f.socket)
	if ok, err := tryLock(t, locks, "locks", "k"); err != nil || !ok {
		t.Errorf("the reachable component: %v, %v", ok, err)
	}
	_, err = tryLock(t, locks, "late", "k")
	if s := status.Convert(err); s.Code() != codes.Unavailable || !strings.Contains(s.Message(), `component "late" is not open yet`) ||
		!strings.Contains(s.Message(), "connection refused") {
		t.Errorf("while the storage is unreachable: %v", err)
	}
	if err := initialize(t, locks, "late", map[string]string{"store": "unreachable"}); err != nil {
		t.Errorf("Init of a sidecar: %v", err)
	}
	f.awaitStatus("component/late", "NOT_SERVING")
	f.awaitStatus("", "SERVING")
	f.awaitMetric(`mortise_component_up{component="late"} 0`)
	if got := f.scrape("/healthz", ""); got.code != http.StatusServiceUnavailable || !strings.Contains(got.body, `["events","late"]`) {
		t.Errorf("health is %d %s", got.code, got.body)
	}

	close(storage)
	f.awaitStatus("component/late", "SERVING")
	f.awaitStatus("component/events", "SERVING")
	f.awaitMetric(`mortise_component_up{component="late"} 1`)
	if ok, err := tryLock(t, locks, "late", "k"); err != nil || !ok {
		t.Errorf("when the storage is reachable: %v, %v", ok, err)
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}

func TestRun_StartDegradedShutdown(t *testing.T) {
	o := Options{Folder: t.TempDir(), StartDegraded: true}
	o.ResourcePaths = []string{writeFiles(t, map[string]string{"1.yaml": componentYAML("late", unreachableMetadata)})}
	r, err := startRun(t, o, make(unreachable).registry())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}

func TestRun_StartDegradedBadConfiguration(t *testing.T) {
	o := Options{Folder: t.TempDir(), StartDegraded: true}
	o.ResourcePaths = []string{writeFiles(t, map[string]string{"1.yaml": componentYAML("late", brokenMetadata)})}
	if _, err := startRun(t, o, make(unreachable).registry()); err == nil || errors.Is(err, stores.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}
