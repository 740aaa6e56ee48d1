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

// Component is what a store is opened from: one Dapr component.
type Component struct {
	Name     string            // the component's metadata.name; equal names share a storage that lives in the process
	Metadata map[string]string // the component's spec.metadata, as written; see [Decode]
	Log      logger.Logger     // carries the component's name; not nil
}

// Backend is one kind of store.
type Backend struct {
	// Config is a pointer to the zero value of the backend's configuration. Its fields
	// tell which metadata keys the backend knows; see [Decode].
	Config any

	// Explain returns why the backend refuses a metadata key that it does not know and
	// what to use in its place, or nothing if there is no more to say. It may be nil.
	Explain func(key string) string

	// Open opens a store. It returns within ctx, with a store that answers or with an
	// error that tells why not. The error wraps ErrUnreachable if the storage did not
	// answer and opening the store later may succeed.
	Open func(ctx context.Context, c Component) (Store, error)
}

// Registry maps the metadata value store to a backend. It is filled before use and then
// only read.
type Registry struct {
	backends map[string]Backend
	fallback string
	common   []common
}

// common is metadata that is not a backend's.
type common struct {
	keys  []string
	check func(md map[string]string) error
}

// NewRegistry returns an empty registry. A component that names no store gets the backend
// called fallback.
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

// Common adds the metadata keys of an API, which are known whatever the store. config is
// as in [Backend]; check tells what is wrong with their values.
func (r *Registry) Common(config any, check func(md map[string]string) error) {
	r.common = append(r.common, common{Keys(config), check})
}

// Clone returns a copy of the registry. Registering with one does not change the other.
func (r *Registry) Clone() *Registry {
	return &Registry{backends: maps.Clone(r.backends), fallback: r.fallback, common: slices.Clone(r.common)}
}

// Names returns the registered names, sorted.
func (r *Registry) Names() []string { return slices.Sorted(maps.Keys(r.backends)) }

// Check returns an error that tells the known names if name is not registered.
func (r *Registry) Check(name string) error {
	if _, ok := r.backends[name]; !ok {
		return fmt.Errorf("unknown store %q, must be one of %s", name, strings.Join(r.Names(), ", "))
	}
	return nil
}

// Config returns the backend's Config, for telling which metadata keys it knows; nil for
// a name that is not registered.
func (r *Registry) Config(name string) any { return r.backends[name].Config }

// Open opens the store that the component's metadata names. It refuses a store that is
// not registered, telling which are, and metadata that the store does not know, telling
// the nearest known key or the store that knows it.
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

// checkKeys refuses the first key, in order of name, that the store does not know.
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

// explain returns why a store refuses a key that it does not know, or nothing.
func (r *Registry) explain(store, key string) string {
	if explain := r.backends[store].Explain; explain != nil {
		return explain(key)
	}
	return ""
}

// isOff reports whether a value asks for nothing: it is empty or false.
func isOff(value string) bool {
	on, err := decodeBool(reflect.TypeFor[string](), reflect.TypeFor[bool](), value)
	return value == "" || err == nil && on == false
}
