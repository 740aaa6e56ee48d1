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
	"github.com/mortise-lock/mortise/component/internal/keyprefix"
	"github.com/mortise-lock/mortise/component/resources"
)

// Component is a lock component, from a resource file or from [Options].
type Component = daprapi.Component

// Reasons for which a component is left to daprd, besides those of package resources.
var (
	errPerSidecar    = errors.New("differs between daprds")
	errDuplicateName = errors.New("several components have that name")
)

// isLeftToDaprd reports whether only daprd can open the component.
func isLeftToDaprd(err error) bool {
	return errors.Is(err, resources.ErrSecret) || errors.Is(err, resources.ErrNoVariable) ||
		errors.Is(err, errPerSidecar) || errors.Is(err, errDuplicateName)
}

// placeholders matches the placeholders in metadata that daprd replaces with facts about
// its app.
var placeholders = regexp.MustCompile(`\{(appID|namespace|podName|uuid)\}`)

// The categories of components, which are the prefixes of their types.
const (
	lockCategory    = "lock."
	bindingCategory = "bindings."
)

// openFunc opens a component.
type openFunc func(ctx context.Context, name string, metadata map[string]string) error

// open opens Mortise's components of the options and of the resource files: first the
// locks, because bindings may use them. It returns the locks that are served. A component
// is left to daprd, which sends Init later, if only daprd knows its metadata, or if its
// name means different components to several daprds.
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

// loadedResources is the content of the resource files.
type loadedResources struct {
	options    Options
	loader     resources.Loader
	log        logger.Logger
	components []*resources.Component // those of Mortise's types
	ofOwnApp   []*resources.Component // those that the own app uses; nil without one
}

// load reads the resource files. With an own app it fails if the daprd of that app would
// fail; without one it fails if no daprd could start with one of the paths.
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
		// daprd ignores a component without a name.
		return c.Metadata.Name == "" || !o.isMortiseType(c)
	})
	return l, nil
}

// isAmbiguous reports whether the component's name may mean another component of Mortise
// to some daprd. To the own app it means one.
func (l *loadedResources) isAmbiguous(c *resources.Component) bool {
	return !slices.Contains(l.ofOwnApp, c) && slices.ContainsFunc(l.components, func(other *resources.Component) bool {
		return other != c && other.Metadata.Name == c.Metadata.Name
	})
}

// isMortiseType reports whether the component has one of Mortise's types, ignoring case.
func (o Options) isMortiseType(c *resources.Component) bool {
	return o.hasType(lockCategory, c) || o.hasType(bindingCategory, c)
}

// hasType reports whether the component is one of Mortise's in the category, ignoring
// case.
func (o Options) hasType(category string, c *resources.Component) bool {
	return strings.EqualFold(c.Spec.Type, category+o.Name)
}

// openAll opens the components of the category. It returns them and those that are left
// to daprd.
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
			l.log.Warnf("Leaving component %q to daprd, which initializes it: %v", c.Metadata.Name, err)
		case err != nil && l.mayFail(c):
			l.log.Warnf("Skipping component %q in %s: %v", c.Metadata.Name, c.File, err)
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

// openWithin opens the component within its timeout.
func openWithin(ctx context.Context, c *resources.Component, properties map[string]string, open openFunc) error {
	ctx, cancel := context.WithTimeout(ctx, c.Spec.Timeout())
	defer cancel()
	return open(ctx, c.Metadata.Name, properties)
}

// mayFail reports whether the component is skipped if it cannot be opened: either daprd
// starts without it too, or it is possible that no daprd of this process uses it. A daprd
// that does use it sends Init and gets the error then.
func (l *loadedResources) mayFail(c *resources.Component) bool {
	own, known := l.options.TCP.Dapr.ownApp()
	return c.Spec.IgnoreErrors || len(c.Scopes) > 0 && !(known && c.IsFor(own))
}

// properties returns the metadata that daprd would send with Init. If only daprd knows
// some of it, properties returns the rest and an error for which isLeftToDaprd returns
// true.
func (l *loadedResources) properties(category string, c *resources.Component) (map[string]string, error) {
	err := checkType(category, c)
	if err != nil {
		return nil, fmt.Errorf("component %q: %w", c.Metadata.Name, err)
	}
	properties, err := l.loader.Properties(c)
	prefix, _ := keyprefix.Of(properties)
	if err := l.options.checkKeyPrefix(prefix); err != nil {
		return nil, fmt.Errorf("component %q: metadata key keyPrefix: %w", c.Metadata.Name, err)
	}
	for key, value := range properties {
		if placeholder := placeholders.FindString(value); placeholder != "" && !keyprefix.Is(key) {
			delete(properties, key)
			err = fmt.Errorf("metadata key %s: %s %w", key, placeholder, errPerSidecar)
		}
	}
	if err == nil && l.isAmbiguous(c) {
		err = errDuplicateName
	}
	return properties, err
}

// checkType returns an error if the case of the type, or the version, is one that no
// component serves.
func checkType(category string, c *resources.Component) error {
	if !strings.HasPrefix(c.Spec.Type, category) {
		return fmt.Errorf("spec.type must begin with %s in lower case, got %q", category, c.Spec.Type)
	}
	if !slices.Contains([]string{"", "v0", "v1"}, strings.ToLower(c.Spec.Version)) {
		return fmt.Errorf("spec.version must be v1, got %q", c.Spec.Version)
	}
	return nil
}

// checkKeyPrefix returns an error if daprd, or this process in its place, cannot start
// with the keyPrefix.
func (o Options) checkKeyPrefix(prefix string) error {
	if strings.Contains(prefix, keyprefix.Separator) {
		return fmt.Errorf("must not contain ||, got %q", prefix)
	}
	if o.TCP.Dapr.enabled() && o.TCP.Dapr.PodName == "" && strings.Contains(prefix, "{podName}") {
		return errors.New("{podName} needs $POD_NAME, which is not set")
	}
	return nil
}
