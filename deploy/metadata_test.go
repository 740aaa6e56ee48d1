package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"

	"github.com/mortise-lock/mortise/component/rtm"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/all"
)

// contrib is the module that defines the format of metadata.yaml.
const contrib = "github.com/dapr/components-contrib"

// property is one metadata key in metadata.yaml.
type property struct {
	Name          string
	Sensitive     bool
	Default       string
	Example       string
	AllowedValues []string `yaml:"allowedValues"`
}

func TestMetadata_Schema(t *testing.T) {
	schema := contribSchema(t)
	if err := schema.Validate(metadataValue(t)); err != nil {
		t.Error(err)
	}
}

func TestMetadata_SchemaRejects(t *testing.T) {
	schema := contribSchema(t)
	for _, tt := range []struct {
		name   string
		damage func(metadata map[string]any)
	}{
		{"a required field is missing", func(m map[string]any) { delete(m, "title") }},
		{"a field is unknown", func(m map[string]any) { m["colour"] = "red" }},
		{"a type is not one of the allowed", func(m map[string]any) { firstKey(m)["type"] = "date" }},
		{"a key has no description", func(m map[string]any) { delete(firstKey(m), "description") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			metadata := metadataValue(t)
			tt.damage(metadata)
			if schema.Validate(metadata) == nil {
				t.Error("the schema accepts it")
			}
		})
	}
}

func TestMetadata_Keys(t *testing.T) {
	registry := all.Backends("memory")
	want := map[string]bool{}
	for _, key := range stores.Keys(&rtm.Config{}) {
		want[key] = true
	}
	for _, name := range registry.Names() {
		for _, key := range stores.Keys(registry.Config(name)) {
			want[key] = key != "keyPrefix" // daprd's own, which the file need not list
		}
	}
	got := map[string]bool{}
	for _, p := range properties(t) {
		if got[p.Name] {
			t.Errorf("key %s appears twice", p.Name)
		}
		if got[p.Name] = true; !want[p.Name] {
			t.Errorf("key %s is unknown to all stores, spelled differently, or daprd's own", p.Name)
		}
	}
	for key, ours := range want {
		if ours && !got[key] {
			t.Errorf("key %s is missing", key)
		}
	}
}

func TestMetadata_AllowedStores(t *testing.T) {
	for _, p := range properties(t) {
		if names := all.Backends("memory").Names(); p.Name == "store" && !slices.Equal(p.AllowedValues, names) {
			t.Errorf("allowedValues of store are %q, registered are %q", p.AllowedValues, names)
		}
	}
}

func TestMetadata_ExamplesAndDefaults(t *testing.T) {
	registry := all.Backends("memory")
	for _, p := range properties(t) {
		if slices.Contains(stores.Keys(&rtm.Config{}), p.Name) {
			for _, value := range []string{p.Example, p.Default} {
				if err := rtm.CheckConfig(map[string]string{p.Name: value}); err != nil {
					t.Errorf("value %q: %v", value, err)
				}
			}
		}
		for _, name := range registry.Names() {
			if !slices.Contains(stores.Keys(registry.Config(name)), p.Name) {
				continue
			}
			for _, value := range []string{p.Example, p.Default} {
				if err := stores.Decode(map[string]string{p.Name: value}, newConfig(registry.Config(name))); err != nil {
					t.Errorf("store %s: value %q: %v", name, value, err)
				}
			}
		}
	}
}

func TestMetadata_SensitiveKeys(t *testing.T) {
	for _, p := range properties(t) {
		lower := strings.ToLower(p.Name)
		secret := strings.Contains(lower, "password") || strings.HasSuffix(lower, "key") || strings.HasSuffix(lower, "secret")
		if secret && !p.Sensitive {
			t.Errorf("key %s is not marked sensitive", p.Name)
		}
	}
}

// contribSchema returns the schema of the components-contrib version that our sidecar is
// built with.
func contribSchema(t *testing.T) *jsonschema.Resolved {
	t.Helper()
	download := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", contrib)
	download.Dir = filepath.Join("..", "daprd")
	download.Stderr = t.Output()
	found, err := download.Output()
	if err != nil {
		t.Fatalf("go mod download %s: %v\n%s", contrib, err, found)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(found, &module); err != nil {
		t.Fatal(err)
	}
	text := read(t, filepath.Join(module.Dir, "component-metadata-schema.json"))
	var schema jsonschema.Schema
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

func metadataValue(t *testing.T) map[string]any {
	t.Helper()
	var value map[string]any
	if err := yaml.Unmarshal(read(t, "metadata.yaml"), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// firstKey returns the first of the metadata keys.
func firstKey(metadata map[string]any) map[string]any {
	return metadata["metadata"].([]any)[0].(map[string]any)
}

// properties returns all keys of metadata.yaml, including those of the authentication
// profiles.
func properties(t *testing.T) []property {
	t.Helper()
	var file struct {
		Metadata []property
		Profiles []struct {
			Metadata []property
		} `yaml:"authenticationProfiles"`
	}
	if err := yaml.Unmarshal(read(t, "metadata.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	list := file.Metadata
	for _, profile := range file.Profiles {
		list = append(list, profile.Metadata...)
	}
	return list
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
