package stores

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/dapr/kit/logger"
)

// Component describes the Dapr component that a store is opened for.
type Component struct {
	// Name is the component's metadata.name. Components with the same name share their
	// locks if the storage is in this process.
	Name     string
	Metadata map[string]string // the component's spec.metadata, as written; see [Decode]
	Log      logger.Logger     // logs the component's name; not nil
}

// Backend is one kind of store.
type Backend struct {
	// Config is a pointer to the zero value of the backend's configuration. Its fields
	// define the metadata keys that the backend supports; see [Decode].
	Config any

	// Explain returns why the backend does not support a metadata key and what to use
	// instead, or an empty string. It may be nil.
	Explain func(key string) string

	// Open opens a store. Before ctx ends it returns a store that answers, or the reason
	// why there is none. The error wraps ErrUnreachable if the storage did not answer and
	// a later Open may succeed.
	Open func(ctx context.Context, c Component) (Store, error)
}

// Registry holds the backends by name, which is the value of the metadata key store. It
// must not change after its first use.
type Registry struct {
	backends map[string]Backend
	fallback string
	common   []common
}

// common describes metadata keys that every backend accepts.
type common struct {
	keys  []string
	check func(md map[string]string) error
}

// NewRegistry returns an empty registry. A component whose metadata has no key store uses
// the backend fallback.
func NewRegistry(fallback string) *Registry {
	return &Registry{backends: map[string]Backend{}, fallback: fallback}
}

// Register adds a backend. It panics if the name is taken.
func (r *Registry) Register(name string, b Backend) {
	if _, taken := r.backends[name]; taken {
		panic("stores: backend " + name + " is registered twice")
	}
	r.backends[name] = b
}

// Common adds the metadata keys of an API, which every backend accepts. config is as in
// [Backend]; check returns an error if a value is invalid.
func (r *Registry) Common(config any, check func(md map[string]string) error) {
	r.common = append(r.common, common{Keys(config), check})
}

// Clone returns a copy of the registry. Registering with one does not change the other.
func (r *Registry) Clone() *Registry {
	return &Registry{backends: maps.Clone(r.backends), fallback: r.fallback, common: slices.Clone(r.common)}
}

// Names returns the registered names, sorted.
func (r *Registry) Names() []string { return slices.Sorted(maps.Keys(r.backends)) }

// Check returns an error that lists the registered names if name is not one of them.
func (r *Registry) Check(name string) error {
	if _, ok := r.backends[name]; !ok {
		return fmt.Errorf("unknown store %q, must be one of %s", name, strings.Join(r.Names(), ", "))
	}
	return nil
}

// Config returns the Config of the backend, or nil if name is not registered.
func (r *Registry) Config(name string) any { return r.backends[name].Config }

// Open opens the store that the component's metadata names. It fails if no such store is
// registered or if the store does not support one of the metadata keys; the error names
// what is registered, or the store that supports the key, or the nearest supported key.
// The store has the name of its backend, see [NameOf].
func (r *Registry) Open(ctx context.Context, c Component) (Store, error) {
	name, err := r.storeName(c.Metadata)
	if err != nil {
		return nil, err
	}
	if err := r.Check(name); err != nil {
		return nil, fmt.Errorf("metadata key store: %w", err)
	}
	if err := r.checkKeys(name, c.Metadata); err != nil {
		return nil, err
	}
	for _, common := range r.common {
		if err := common.check(c.Metadata); err != nil {
			return nil, err
		}
	}
	s, err := r.backends[name].Open(ctx, c)
	if err != nil {
		return nil, err
	}
	return &named{s, name}, nil
}

func (r *Registry) storeName(md map[string]string) (string, error) {
	var common struct {
		Store string `mapstructure:"store"`
	}
	if err := Decode(md, &common); err != nil {
		return "", err
	}
	if common.Store == "" {
		return r.fallback, nil
	}
	return strings.ToLower(common.Store), nil
}

// checkKeys returns an error for the first key, in alphabetical order, that the store
// does not support.
func (r *Registry) checkKeys(store string, md map[string]string) error {
	known := Keys(r.backends[store].Config)
	for _, common := range r.common {
		known = append(known, common.keys...)
	}
	for _, key := range slices.Sorted(maps.Keys(md)) {
		if contains(known, key) {
			continue
		}
		if reason := r.explain(store, key); reason != "" {
			if isOff(md[key]) {
				continue
			}
			return fmt.Errorf("metadata key %q: %s", key, reason)
		}
		for _, other := range r.Names() {
			if contains(Keys(r.backends[other].Config), key) {
				return fmt.Errorf("metadata key %q: store %s does not support it, but store %s does; add \"store: %s\" or remove the key",
					key, store, other, other)
			}
		}
		return fmt.Errorf("metadata key %q: store %s does not support it; the nearest supported key is %s", key, store, nearest(known, key))
	}
	return nil
}

// explain returns the backend's reason not to support a key, or an empty string.
func (r *Registry) explain(store, key string) string {
	if explain := r.backends[store].Explain; explain != nil {
		return explain(key)
	}
	return ""
}

// isOff reports whether a value is empty or false, so that it has no effect.
func isOff(value string) bool {
	on, err := decodeBool(reflect.TypeFor[string](), reflect.TypeFor[bool](), value)
	return value == "" || err == nil && on == false
}
