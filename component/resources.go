package component

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/component/daprapi"
	"github.com/mortise-lock/mortise/component/resources"
)

// Component is a lock component: one that a resource file describes, or one that needs no
// file.
type Component = daprapi.Component

// Why a component is left for daprd, besides what only daprd can read.
var (
	errPerSidecar    = errors.New("is not the same for every daprd")
	errDuplicateName = errors.New("there are several of that name")
)

func isLeftToDaprd(err error) bool {
	return errors.Is(err, resources.ErrSecret) || errors.Is(err, resources.ErrNoVariable) ||
		errors.Is(err, errPerSidecar) || errors.Is(err, errDuplicateName)
}

// placeholders are those in metadata that every daprd fills in by what it knows of its
// app.
var placeholders = regexp.MustCompile(`\{(appID|namespace|podName|uuid)\}`)

// Categories of components, which begin their types.
const (
	lockCategory    = "lock."
	bindingCategory = "bindings."
)

// opener opens a component of one category.
type openFunc func(ctx context.Context, name string, metadata map[string]string) error

// open opens the components of our types that the options and the resource files name:
// first the locks, because the bindings may use them. It returns the locks that are
// served. A component is left for daprd, which will send Init, if only daprd knows its
// metadata, or if several daprds mean different components by its name.
func (s services) open(ctx context.Context, o Options, log logger.Logger) ([]Component, error) {
	for _, c := range o.Components {
		if err := s.set.Open(ctx, c.Name, c.Metadata); err != nil {
			return nil, err
		}
	}
	r, err := o.load(log)
	if err != nil {
		return nil, fmt.Errorf("resources path: %w", err)
	}
	locks, err := r.openAll(ctx, lockCategory, s.set.Open)
	if err == nil {
		_, err = r.openAll(ctx, bindingCategory, s.bindings.Open)
	}
	if err != nil {
		return nil, fmt.Errorf("resources path: %w", err)
	}
	return slices.Concat(o.Components, locks), nil
}

// loaded is what the resource files contain for us.
type loadedResources struct {
	options    Options
	loader     resources.Loader
	log        logger.Logger
	components []*resources.Component // those of our types
	ofOwnApp   []*resources.Component // what our own app uses; nil if that is not known
}

// load reads the resource files. It fails as the daprd of our own app does. If it is not
// known whose sidecars we serve, it fails if no daprd could start with one of the paths.
func (o Options) load(log logger.Logger) (*loadedResources, error) {
	l := &loadedResources{options: o, loader: resources.Loader{LookupEnv: os.LookupEnv, Log: log}, log: log}
	var all []*resources.Component
	for _, path := range o.ResourcePaths {
		components, err := l.loader.Load(path)
		if err == nil {
			err = resources.Check(components)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, components...)
	}
	own, known := o.TCP.Dapr.ownApp()
	byOwn, err := resources.ForApp(all, own)
	if known && err != nil {
		return nil, err
	}
	if known {
		l.ofOwnApp = byOwn
	}
	l.components = slices.DeleteFunc(all, func(c *resources.Component) bool {
		return c.Metadata.Name == "" || !o.isMortiseType(c) // daprd ignores a component without a name
	})
	return l, nil
}

// isAmbiguous reports whether the component's name means another of ours to some daprd.
// What it means to our own app is certain.
func (l *loadedResources) isAmbiguous(c *resources.Component) bool {
	return !slices.Contains(l.ofOwnApp, c) && slices.ContainsFunc(l.components, func(other *resources.Component) bool {
		return other != c && other.Metadata.Name == c.Metadata.Name
	})
}

// isOurs reports whether the component is of one of our types, in whatever case.
func (o Options) isMortiseType(c *resources.Component) bool {
	return o.hasType(lockCategory, c) || o.hasType(bindingCategory, c)
}

func (o Options) hasType(category string, c *resources.Component) bool {
	return strings.EqualFold(c.Spec.Type, category+o.Name)
}

// openAll opens the components of the category, and returns them and those that only
// daprd can open.
func (l *loadedResources) openAll(ctx context.Context, category string, open openFunc) ([]Component, error) {
	var served []Component
	for _, c := range l.components {
		if !l.options.hasType(category, c) {
			continue
		}
		properties, err := l.properties(category, c)
		if err == nil {
			err = openWithin(ctx, c, properties, open)
		}
		switch {
		case isLeftToDaprd(err):
			l.log.Warnf("Component %q is opened when daprd initializes it: %v", c.Metadata.Name, err)
		case err != nil && l.mayFail(c):
			l.log.Warnf("Component %q in %s is not served: %v", c.Metadata.Name, c.File, err)
			continue
		case err != nil:
			return nil, fmt.Errorf("%s: %w", c.File, err)
		}
		served = append(served, Component{
			Name: c.Metadata.Name, Type: c.Spec.Type, Version: c.Spec.Version, Metadata: properties, Scopes: c.Scopes,
		})
	}
	return served, nil
}

func openWithin(ctx context.Context, c *resources.Component, properties map[string]string, open openFunc) error {
	ctx, cancel := context.WithTimeout(ctx, c.Spec.Timeout())
	defer cancel()
	return open(ctx, c.Metadata.Name, properties)
}

// mayFail reports whether the component may be left out if it cannot be opened. A daprd
// that uses it starts without it, or it may be that no daprd of ours uses it: one that
// does sends Init, and hears of the error then.
func (l *loadedResources) mayFail(c *resources.Component) bool {
	own, known := l.options.TCP.Dapr.ownApp()
	return c.Spec.IgnoreErrors || len(c.Scopes) > 0 && !(known && c.IsFor(own))
}

// properties returns the metadata that daprd would send with Init. If that is not known,
// the error is for daprd, and comes with what is known.
func (l *loadedResources) properties(category string, c *resources.Component) (map[string]string, error) {
	err := checkType(category, c)
	if err != nil {
		return nil, fmt.Errorf("component %q: %w", c.Metadata.Name, err)
	}
	properties, err := l.loader.Properties(c)
	if err := l.options.checkKeyPrefix(keyPrefix(properties)); err != nil {
		return nil, fmt.Errorf("component %q: metadata key keyPrefix: %w", c.Metadata.Name, err)
	}
	for key, value := range properties {
		if placeholder := placeholders.FindString(value); placeholder != "" && !isKeyPrefix(key) {
			delete(properties, key)
			err = fmt.Errorf("metadata key %s: %s %w", key, placeholder, errPerSidecar)
		}
	}
	if err == nil && l.isAmbiguous(c) {
		err = errDuplicateName
	}
	return properties, err
}

// checkType returns an error if daprd finds nothing that serves the component's type,
// which is one of ours in some case.
func checkType(category string, c *resources.Component) error {
	if !strings.HasPrefix(c.Spec.Type, category) {
		return fmt.Errorf("spec.type must begin with %s in lower case, got %q", category, c.Spec.Type)
	}
	if !slices.Contains([]string{"", "v0", "v1"}, strings.ToLower(c.Spec.Version)) {
		return fmt.Errorf("spec.version must be v1, got %q", c.Spec.Version)
	}
	return nil
}

// checkKeyPrefix returns an error if no daprd, or not that of our own app, starts with
// the keyPrefix.
func (o Options) checkKeyPrefix(prefix string) error {
	if strings.Contains(prefix, "||") {
		return fmt.Errorf("must not contain ||, got %q", prefix)
	}
	if o.TCP.Dapr.enabled() && o.TCP.Dapr.PodName == "" && strings.Contains(prefix, "{podName}") {
		return errors.New("refers to {podName}, but $POD_NAME is not set")
	}
	return nil
}

// isKeyPrefix tells whether a metadata key is the one for those who make the keys of
// locks, and not for stores.
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
