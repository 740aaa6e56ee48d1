package component

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/dapr/kit/logger"
	"go.yaml.in/yaml/v3"

	"github.com/mortise-lock/mortise/component/daprapi"
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
	Scopes []string `yaml:"scopes"`

	file string
}

// item is one metadata entry: a value, or where to find it.
type item struct {
	Name         string    `yaml:"name"`
	Value        yaml.Node `yaml:"value"`
	SecretKeyRef yaml.Node `yaml:"secretKeyRef"`
	EnvRef       string    `yaml:"envRef"`
}

// Why a component is left for daprd.
var (
	errSecret    = errors.New("is in a secret store") // so only daprd can read it
	errFilledIn  = errors.New("is not the same for every daprd")
	errNamesakes = errors.New("there are several of that name")
)

func isForDaprd(err error) bool {
	return errors.Is(err, errSecret) || errors.Is(err, errFilledIn) || errors.Is(err, errNamesakes)
}

// placeholders are those in metadata that every daprd fills in by what it knows of its app.
var placeholders = regexp.MustCompile(`\{(appID|namespace|podName|uuid)\}`)

// Component is a lock component: one that a resource file describes, or one that needs no file.
type Component = daprapi.Component

// open opens the components of our types that the options and the resource files name: first the locks, because the bindings may
// use them. It returns the locks. A component with a secret in it is left for daprd, which knows the secret stores and will send
// Init, and so are one whose metadata daprd fills in, and several of one name.
func (s services) open(ctx context.Context, o Options, log logger.Logger) ([]Component, error) {
	for _, c := range o.Components {
		if err := s.set.Open(ctx, c.Name, c.Metadata); err != nil {
			return nil, err
		}
	}
	found, err := readResources(o.ResourcePaths)
	if err != nil {
		return nil, fmt.Errorf("resources path: %w", err)
	}
	locks, err := o.openAll(ctx, ofType(found, "lock."+o.Name), s.set.Open, log)
	if err == nil {
		_, err = o.openAll(ctx, ofType(found, "bindings."+o.Name), s.bindings.Open, log)
	}
	return slices.Concat(o.Components, locks), err
}

// readResources reads the files, and those in the folders.
func readResources(paths []string) ([]resource, error) {
	var found []resource
	for _, path := range paths {
		files, err := resourceFiles(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			resources, err := readResourceFile(file)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			found = append(found, resources...)
		}
	}
	return found, nil
}

// ofType returns the components of the type.
func ofType(found []resource, componentType string) (some []resource) {
	for _, r := range found {
		if r.Kind == "Component" && strings.EqualFold(r.Spec.Type, componentType) {
			some = append(some, r)
		}
	}
	return some
}

func readResourceFile(file string) ([]resource, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	resources, err := parseResources(f)
	for i := range resources {
		resources[i].file = file
	}
	return resources, err
}

// openAll opens the resources, all of one type, and returns them. Those that only daprd can open come back too.
func (o Options) openAll(
	ctx context.Context, ours []resource,
	open func(ctx context.Context, name string, metadata map[string]string) error, log logger.Logger,
) ([]Component, error) {
	var components []Component
	for i := range ours {
		r := &ours[i]
		properties, err := r.properties(os.Getenv)
		if err == nil {
			err = o.checkName(r, ours)
		}
		if isForDaprd(err) {
			log.Warnf("Component %q is opened when daprd initializes it: %v", r.Metadata.Name, err)
		} else if err == nil {
			err = open(ctx, r.Metadata.Name, properties)
		}
		if err != nil && !isForDaprd(err) {
			return nil, fmt.Errorf("resources path: %s: component %q: %w", r.file, r.Metadata.Name, err)
		}
		components = append(components, r.component(properties))
	}
	return components, nil
}

// checkName returns errNamesakes if a call that names the resource may mean another one. The app that we serve ourselves means
// what is for it. Which one another app's daprd means is not known before it initializes that.
func (o Options) checkName(r *resource, ours []resource) error {
	forOurApp := func(r *resource) bool { return o.TCP.Dapr.served() && r.component(nil).IsFor(o.TCP.Dapr.AppID) }
	for i := range ours {
		other := &ours[i]
		if other != r && other.Metadata.Name == r.Metadata.Name && (!forOurApp(r) || forOurApp(other)) {
			return fmt.Errorf("%w, as in %s", errNamesakes, other.file)
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

// component is what the resource describes, with that metadata.
func (r resource) component(metadata map[string]string) Component {
	return Component{Name: r.Metadata.Name, Type: r.Spec.Type, Version: r.Spec.Version, Metadata: metadata, Scopes: r.Scopes}
}

// properties is the metadata as daprd would send it. With an error for daprd it is what of it is known.
func (r resource) properties(getenv func(string) string) (map[string]string, error) {
	if r.Metadata.Name == "" {
		return nil, errors.New("metadata.name is empty")
	}
	if !slices.Contains([]string{"", "v0", "v1"}, r.Spec.Version) {
		return nil, fmt.Errorf("spec.version is %q, known is v1", r.Spec.Version)
	}
	properties := make(map[string]string, len(r.Spec.Metadata))
	var unknown error
	for _, i := range r.Spec.Metadata {
		value, err := i.value(getenv)
		if filledIn := placeholders.FindString(value); filledIn != "" && !isKeyPrefix(i.Name) {
			err = fmt.Errorf("%s %w", filledIn, errFilledIn)
		}
		switch {
		case isForDaprd(err):
			unknown = fmt.Errorf("metadata key %s: %w", i.Name, err)
		case err != nil:
			return nil, fmt.Errorf("metadata key %s: %w", i.Name, err)
		default:
			properties[i.Name] = value
		}
	}
	return properties, unknown
}

// isKeyPrefix tells whether a metadata key is the one for those who make the keys of locks, and not for stores.
func isKeyPrefix(name string) bool { return strings.EqualFold(name, "keyPrefix") }

// keyPrefix is what a component's metadata says about the keys of its locks.
func keyPrefix(metadata map[string]string) string {
	for key, value := range metadata {
		if isKeyPrefix(key) {
			return value
		}
	}
	return ""
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
