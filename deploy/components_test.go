// Package deploy contains the deployment files, and tests that compare them with the
// program and with Dapr. It contains no program.
package deploy

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/mortise-lock/mortise/component/rtm"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/all"
)

// component is a Dapr resource of kind Component.
type component struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct{ Name string }
	Spec       struct {
		Type     string
		Version  string
		Metadata []struct {
			Name         string
			Value        string
			SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
		}
	}
	Auth struct {
		SecretStore string `yaml:"secretStore"`
	}
	Scopes []string
}

// TestComponentsFolder loads the components like daprd, which reads every YAML file of
// the folder and rejects two components with the same name.
func TestComponentsFolder(t *testing.T) {
	files, err := filepath.Glob("components/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no components: %v", err)
	}
	names := map[string]string{}
	for _, file := range files {
		if ext := filepath.Ext(file); ext != ".yaml" {
			t.Errorf("%s: daprd loads .yaml and warns of others", file)
		}
		for _, document := range documents(t, file) {
			c := decodeStrictly[component](t, document)
			checkComponent(t, c)
			if other, taken := names[c.Metadata.Name]; taken {
				t.Errorf("%s and %s both name their component %q", file, other, c.Metadata.Name)
			}
			names[c.Metadata.Name] = file
		}
	}
}

// checkComponent checks that daprd loads the component as one of ours, and that its store
// accepts its metadata.
func checkComponent(t *testing.T, c component) {
	t.Helper()
	if c.APIVersion != "dapr.io/v1alpha1" || c.Kind != "Component" || c.Metadata.Name == "" {
		t.Errorf("%s %s %q is not a named dapr.io/v1alpha1 Component", c.APIVersion, c.Kind, c.Metadata.Name)
	}
	if c.Spec.Type != "lock.mortise" || c.Spec.Version != "v1" {
		t.Errorf("component %s is %s/%s, want lock.mortise/v1", c.Metadata.Name, c.Spec.Type, c.Spec.Version)
	}
	values := map[string]string{}
	for _, item := range c.Spec.Metadata {
		values[item.Name] = item.Value
		if item.SecretKeyRef.Name != "" && c.Auth.SecretStore == "" {
			t.Errorf("component %s reads %s from a secret but has no auth.secretStore", c.Metadata.Name, item.Name)
		}
	}
	registry := all.Backends("memory")
	if err := registry.Check(values["store"]); err != nil {
		t.Fatalf("component %s: %v", c.Metadata.Name, err)
	}
	config := registry.Config(values["store"])
	known := append(stores.Keys(config), stores.Keys(&rtm.Config{})...)
	for key := range values {
		if !slices.Contains(known, key) {
			t.Errorf("component %s: store %s does not know key %q", c.Metadata.Name, values["store"], key)
		}
	}
	if err := cmp.Or(stores.Decode(values, newConfig(config)), rtm.CheckConfig(values)); err != nil {
		t.Errorf("component %s: %v", c.Metadata.Name, err)
	}
}

// newConfig returns a pointer to a new configuration of the same type.
func newConfig(config any) any { return reflect.New(reflect.TypeOf(config).Elem()).Interface() }

// documents returns the YAML documents of a file.
func documents(t *testing.T, path string) []yaml.Node {
	t.Helper()
	var list []yaml.Node
	for decoder := yaml.NewDecoder(bytes.NewReader(read(t, path))); ; {
		var document yaml.Node
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		list = append(list, document)
	}
}

func decode[T any](t *testing.T, document yaml.Node) T {
	t.Helper()
	var value T
	if err := document.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// decodeStrictly is decode that rejects fields which T does not have.
func decodeStrictly[T any](t *testing.T, document yaml.Node) T {
	t.Helper()
	text, err := yaml.Marshal(&document)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	var value T
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}
