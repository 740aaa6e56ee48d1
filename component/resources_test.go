package component

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/all"
)

const componentHead = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: locks\nspec:\n  type: lock.mortise\n"

func TestPropertiesAreWhatDaprdWouldSend(t *testing.T) {
	resources, err := parseResources(strings.NewReader(componentHead + `  version: v1
  metadata:
  - name: text
    value: "07"
  - {name: number, value: 3}
  - {name: truth, value: true}
  - {name: nothing, value: }
  - {name: absent}
  - {name: env, envRef: LOCK_HOST}
  - name: lines
    value: |
      a
      b
`))
	if err != nil || len(resources) != 1 {
		t.Fatalf("%d resources, %v", len(resources), err)
	}
	got, err := resources[0].properties(func(name string) string { return "$" + name })
	want := map[string]string{
		"text": "07", "number": "3", "truth": "true", "nothing": "", "absent": "", "env": "$LOCK_HOST", "lines": "a\nb\n",
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
}

func TestOnlyDaprdFillsValuesIn(t *testing.T) {
	for placeholder, left := range map[string]bool{
		"{appID}": true, "{podName}": true, "{namespace}": true, "{uuid}": true, "{appid}": false, "appID": false,
	} {
		resources, err := parseResources(strings.NewReader(componentHead + "  metadata:\n" +
			"  - {name: plain, value: v}\n  - {name: KeyPrefix, value: '{appID}'}\n  - {name: filled, value: 'secret " + placeholder + "'}\n"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := resources[0].properties(os.Getenv)
		want := map[string]string{"plain": "v", "KeyPrefix": "{appID}"} // of which the stores take no notice
		if !left {
			want["filled"] = "secret " + placeholder
		}
		if !maps.Equal(got, want) || isForDaprd(err) != left {
			t.Errorf("%s: got %q, %v", placeholder, got, err)
		}
		if left && err.Error() != "metadata key filled: "+placeholder+" is not the same for every daprd" {
			t.Errorf("%s: %v", placeholder, err)
		}
	}
}

// openDir writes the files to a folder and opens its components.
func openDir(t *testing.T, files map[string]string) (*instances.Set, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := logger.NewLogger("test")
	set := instances.New(all.Backends("memory"), log)
	t.Cleanup(func() { _ = set.Close() })
	s := newServices(set, log)
	t.Cleanup(s.close)
	_, err := s.open(t.Context(), Options{Name: "mortise", ResourcePaths: []string{dir}}, log)
	return set, err
}

func isOpen(set *instances.Set, name string) bool {
	return set.Do(context.Background(), name, func(stores.Store) error { return nil }) == nil
}

func TestResourcesOfOurTypeAreOpened(t *testing.T) {
	other := strings.NewReplacer("name: locks", "name: other", "lock.mortise", "state.redis").Replace(componentHead)
	upper := strings.NewReplacer("name: locks", "name: upper", "lock.mortise", "Lock.Mortise").Replace(componentHead)
	secret := strings.Replace(componentHead, "name: locks", "name: secret", 1) +
		"  metadata:\n  - name: restartGrace\n    secretKeyRef: {name: a, key: b}\n"
	filled := strings.Replace(componentHead, "name: locks", "name: filled", 1) +
		"  metadata:\n  - {name: redisHost, value: 'redis-{namespace}'}\n  - {name: store, value: redis}\n"
	set, err := openDir(t, map[string]string{
		"several.yaml":  componentHead + "---\n" + other + "---\n---\n" + upper,
		"secret.yml":    secret,
		"filled.yaml":   filled,
		"config.yaml":   "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: c\nspec:\n  metadata: {a: b}\n",
		"list.yaml":     "- no\n- resource\n",
		"notes.txt":     "\tno YAML",
		"empty.yaml":    "",
		"comments.yaml": "# nothing\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"locks": true, "upper": true, "other": false, "secret": false, "filled": false, "c": false} {
		if isOpen(set, name) != want {
			t.Errorf("component %s: open is %v", name, !want)
		}
	}
}

func TestBadResourcesAreRefusedByFileAndName(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"no YAML", "a: [", "locks.yaml"},
		{"a component that is not shaped like one", "kind: Component\nspec: 3\n", "cannot unmarshal"},
		{"a value that is a list", componentHead + "  metadata:\n  - {name: store, value: [a]}\n", "metadata key store"},
		{"no name", strings.Replace(componentHead, "locks", `""`, 1), "metadata.name"},
		{"another version", componentHead + "  version: v2\n", "spec.version"},
		{"an unknown key", componentHead + "  metadata:\n  - {name: restartGrase, value: 3}\n", "restartGrace"},
		{"a bad value", componentHead + "  metadata:\n  - {name: restartGrace, value: soon}\n", "restartGrace"},
		{"an unknown store", componentHead + "  metadata:\n  - {name: store, value: paper}\n", "memory, redis"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := openDir(t, map[string]string{"locks.yaml": row.text})
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "locks.yaml") {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
	t.Run("a path that is not there", func(t *testing.T) {
		set := instances.New(all.Backends("memory"), logger.NewLogger("test"))
		s := newServices(set, logger.NewLogger("test"))
		defer s.close()
		_, err := s.open(t.Context(), Options{ResourcePaths: []string{"/does/not/exist"}}, logger.NewLogger("test"))
		if err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
			t.Errorf("got %v", err)
		}
	})
}

// FuzzParseResources looks for YAML that crashes the reader.
func FuzzParseResources(f *testing.F) {
	f.Add(componentHead + "  metadata:\n  - {name: a, value: 1}\n")
	f.Add("---\n---\n- a\n")
	f.Add("kind: Component\nspec: {metadata: [{name: x, value: &a [*a]}]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		resources, err := parseResources(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, r := range resources {
			_, _ = r.properties(os.Getenv)
		}
	})
}
