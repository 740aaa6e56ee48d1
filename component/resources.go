package component

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dapr/kit/logger"
	"go.yaml.in/yaml/v3"

	"github.com/mortise-lock/mortise/component/instances"
)

// resource is the part of a Dapr resource file that tells of a component. Its fields are Dapr's.
type resource struct {
	Kind     string `yaml:"kind"`
	Metadata struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec struct {
		Type     string `yaml:"type"`
		Version  string `yaml:"version"`
		Metadata []item `yaml:"metadata"`
	} `yaml:"spec"`
}

// item is one metadata entry: a value, or where to find it.
type item struct {
	Name         string    `yaml:"name"`
	Value        yaml.Node `yaml:"value"`
	SecretKeyRef yaml.Node `yaml:"secretKeyRef"`
	EnvRef       string    `yaml:"envRef"`
}

// errSecret reports metadata that only daprd can read.
var errSecret = errors.New("is in a secret store")

// openResources opens the components of our type that the resource files name. One with a secret in it is left for daprd,
// which knows the secret stores and will send Init.
func openResources(ctx context.Context, o Options, set *instances.Set, log logger.Logger) error {
	for _, path := range o.ResourcePaths {
		files, err := resourceFiles(path)
		if err != nil {
			return fmt.Errorf("resources path: %w", err)
		}
		for _, file := range files {
			if err := openFile(ctx, file, "lock."+o.Name, set, log); err != nil {
				return fmt.Errorf("resources path: %s: %w", file, err)
			}
		}
	}
	return nil
}

// resourceFiles is the file itself, or the YAML files of the folder, sorted.
func resourceFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	entries, err := os.ReadDir(path)
	var files []string
	for _, e := range entries {
		if ext := strings.ToLower(filepath.Ext(e.Name())); !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	return files, err
}

func openFile(ctx context.Context, file, componentType string, set *instances.Set, log logger.Logger) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	resources, err := parseResources(f)
	if err != nil {
		return err
	}
	for _, r := range resources {
		if r.Kind != "Component" || !strings.EqualFold(r.Spec.Type, componentType) {
			continue
		}
		properties, err := r.properties(os.Getenv)
		switch {
		case errors.Is(err, errSecret):
			log.Warnf("Component %q is opened when daprd initializes it: %v", r.Metadata.Name, err)
			continue
		case err != nil:
			return fmt.Errorf("component %q: %w", r.Metadata.Name, err)
		}
		if err := set.Open(ctx, r.Metadata.Name, properties); err != nil {
			return err
		}
	}
	return nil
}

// parseResources reads the documents of a YAML file. Documents that are no Dapr resource come back without a kind.
func parseResources(r io.Reader) ([]resource, error) {
	var resources []resource
	for decoder := yaml.NewDecoder(r); ; {
		var document yaml.Node
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			return resources, nil
		} else if err != nil {
			return nil, err
		}
		var next resource
		if err := document.Decode(&next); err != nil && isComponent(&document) {
			return nil, err
		}
		resources = append(resources, next)
	}
}

// isComponent tells whether a document says so of itself, whatever else is wrong with it.
func isComponent(document *yaml.Node) bool {
	var head struct {
		Kind string `yaml:"kind"`
	}
	return document.Decode(&head) == nil && head.Kind == "Component"
}

// properties is the metadata as daprd would send it.
func (r resource) properties(getenv func(string) string) (map[string]string, error) {
	if r.Metadata.Name == "" {
		return nil, errors.New("metadata.name is empty")
	}
	if !slices.Contains([]string{"", "v0", "v1"}, r.Spec.Version) {
		return nil, fmt.Errorf("spec.version is %q, known is v1", r.Spec.Version)
	}
	properties := make(map[string]string, len(r.Spec.Metadata))
	for _, i := range r.Spec.Metadata {
		value, err := i.value(getenv)
		if err != nil {
			return nil, fmt.Errorf("metadata key %s: %w", i.Name, err)
		}
		properties[i.Name] = value
	}
	return properties, nil
}

func (i item) value(getenv func(string) string) (string, error) {
	switch {
	case !i.SecretKeyRef.IsZero():
		return "", errSecret
	case i.EnvRef != "":
		return getenv(i.EnvRef), nil
	case i.Value.IsZero() || i.Value.Tag == "!!null":
		return "", nil
	case i.Value.Kind != yaml.ScalarNode:
		return "", errors.New("value is neither text nor number nor truth value")
	}
	return i.Value.Value, nil
}
