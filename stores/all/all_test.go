package all_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/mortise-lock/mortise/component/rtm"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/all"
)

// root is the root of the repository.
const root = "../.."

// conformanceLines is the limit of lines for a backend's conformance_test.go. Longer code
// is a rule, which belongs in the suite.
const conformanceLines = 40

// TestBackends_Complete checks each folder in stores, so that a new backend cannot be
// incomplete.
func TestBackends_Complete(t *testing.T) {
	registry := all.Backends("memory")
	for _, name := range folders(t) {
		t.Run(name, func(t *testing.T) {
			if err := registry.Check(name); err != nil {
				t.Fatalf("the folder is not registered in all.Backends: %v", err)
			}
			t.Run("has an example component", func(t *testing.T) { checkComponent(t, name, registry.Config(name)) })
			t.Run("runs the conformance suite", func(t *testing.T) { checkConformanceTest(t, name) })
			t.Run("has a row in the README", func(t *testing.T) { checkReadme(t, name) })
		})
	}
}

func TestBackends_NamesAreFolders(t *testing.T) {
	if names, folders := all.Backends("memory").Names(), folders(t); !slices.Equal(names, folders) {
		t.Errorf("the registered names are %q, the folders with a config.go %q", names, folders)
	}
}

func TestBackends_NamesAreSorted(t *testing.T) {
	if names := all.Backends("memory").Names(); !slices.IsSorted(names) {
		t.Errorf("Names() = %q", names)
	}
}

func TestBackends_DuplicatePanics(t *testing.T) {
	registry := all.Backends("memory")
	defer func() {
		if recover() == nil {
			t.Error("the second backend called memory was registered")
		}
	}()
	registry.Register("memory", stores.Backend{})
}

func TestBackends_UnknownStore(t *testing.T) {
	registry := all.Backends("memory")
	_, err := registry.Open(t.Context(), stores.Component{Metadata: map[string]string{"store": "abacus"}})
	if err == nil {
		t.Fatal("a store called abacus was opened")
	}
	for _, want := range []string{`"abacus"`, strings.Join(registry.Names(), ", ")} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not contain %s: %v", want, err)
		}
	}
}

func TestBackends_Fallback(t *testing.T) {
	_, err := all.Backends("redis").Open(t.Context(), stores.Component{})
	if err == nil || !strings.HasPrefix(err.Error(), "redis: ") {
		t.Errorf("Open with fallback redis and no metadata returned %v, want an error about the missing host", err)
	}
}

// folders returns the names of the folders that contain a backend, sorted.
func folders(t *testing.T) []string {
	t.Helper()
	configs, err := filepath.Glob(filepath.Join(root, "stores", "*", "config.go"))
	if err != nil || len(configs) == 0 {
		t.Fatalf("no backends found: %v", err)
	}
	var names []string
	for _, config := range configs {
		names = append(names, filepath.Base(filepath.Dir(config)))
	}
	slices.Sort(names)
	return names
}

func checkConformanceTest(t *testing.T, name string) {
	t.Helper()
	path := filepath.Join(root, "stores", name, "conformance_test.go")
	text := read(t, path)
	if lines := bytes.Count(text, []byte("\n")); lines >= conformanceLines {
		t.Errorf("%s must have less than %[3]d lines, got %[2]d", path, lines, conformanceLines)
	}
	if !bytes.Contains(text, []byte("conformance.Run(")) {
		t.Errorf("%s does not call conformance.Run", path)
	}
}

// checkComponent checks that the example component shows every metadata key of the
// backend and of the RTM API and no other, and that all values are valid, also those in
// comments.
func checkComponent(t *testing.T, name string, config any) {
	t.Helper()
	path := filepath.Join(root, "deploy", "components", name+".yaml")
	text := read(t, path)
	active, every := metadata(t, text), metadata(t, uncomment(text))
	if active["store"] != name {
		t.Errorf("%s: store is %q, want %q", path, active["store"], name)
	}
	known := append(stores.Keys(config), stores.Keys(&rtm.Config{})...)
	if err := rtm.CheckConfig(every); err != nil {
		t.Errorf("%s: %v", path, err)
	}
	for key := range every {
		if !slices.Contains(known, key) {
			t.Errorf("%s: shows key %q, which the store does not support in this spelling", path, key)
		}
	}
	for _, key := range known {
		if _, ok := every[key]; !ok {
			t.Errorf("%s: does not show key %q", path, key)
		}
	}
	for what, values := range map[string]map[string]string{"as it is": active, "with every key in effect": every} {
		if err := stores.Decode(values, reflect.New(reflect.TypeOf(config).Elem()).Interface()); err != nil {
			t.Errorf("%s: %s: %v", path, what, err)
		}
	}
}

// checkReadme checks that a row in a table of the README begins with the store's name.
func checkReadme(t *testing.T, name string) {
	t.Helper()
	row := regexp.MustCompile("(?m)^\\|\\s*[`*\\[]*" + regexp.QuoteMeta(name) + `\b.*\|`)
	if !row.Match(read(t, filepath.Join(root, "README.md"))) {
		t.Error("README.md has no row that begins with the store's name")
	}
}

// commented matches a metadata entry in a comment: the line with its name, and the lines
// indented below it.
var commented = regexp.MustCompile(`(?m)^( *)# (- name: \w+)$((?:\n *#   +\S.*$)+)`)

// uncomment removes the comment signs of the metadata entries.
func uncomment(text []byte) []byte {
	return commented.ReplaceAllFunc(text, func(entry []byte) []byte {
		return regexp.MustCompile(`(?m)^( *)# `).ReplaceAll(entry, []byte("$1"))
	})
}

// metadata returns the metadata that daprd would send for the YAML of a component, with
// an empty value for a secret.
func metadata(t *testing.T, text []byte) map[string]string {
	t.Helper()
	var component struct {
		Spec struct {
			Type, Version string
			Metadata      []struct {
				Name  string
				Value string
			}
		}
	}
	if err := yaml.Unmarshal(text, &component); err != nil {
		t.Fatal(err)
	}
	if spec := component.Spec; spec.Type != "lock.mortise" || spec.Version != "v1" {
		t.Errorf("the component is %s/%s, want lock.mortise/v1", spec.Type, spec.Version)
	}
	values := map[string]string{}
	for _, item := range component.Spec.Metadata {
		if _, twice := values[item.Name]; twice {
			t.Errorf("key %q appears twice", item.Name)
		}
		values[item.Name] = item.Value
	}
	return values
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
