package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// noTenant replaces the tenant in the key of a lock that all tenants share, as in VonaJS.
const noTenant = "~"

type tenantKey struct{}

// WithTenant returns a ctx whose locks belong to the tenant, unless a call has [Tenant]
// or [Global]. It overrides the client's default.
func WithTenant(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, tenantKey{}, &name)
}

// apply returns the settings of one call: the client's, overridden by ctx's tenant, and
// then by the call's options.
func (s settings) apply(ctx context.Context, opts []Option) settings {
	if t, ok := ctx.Value(tenantKey{}).(*string); ok {
		s.tenant = t
	}
	return s.with(opts)
}

// key returns the lock's key in the store: the resource itself without a namespace and a
// tenant, else "namespace:tenant:resource".
func (s settings) key(resource string) (string, error) {
	if !utf8.ValidString(resource) {
		return "", errors.New("resource must be valid UTF-8")
	}
	if s.namespace == "" && s.tenant == nil {
		return resource, nil
	}
	if err := validatePart("namespace", s.namespace); err != nil {
		return "", err
	}
	if s.tenant == nil {
		return s.namespace + ":" + noTenant + ":" + resource, nil
	}
	if err := validateTenant(*s.tenant); err != nil {
		return "", err
	}
	return s.namespace + ":" + *s.tenant + ":" + resource, nil
}

func validateTenant(name string) error {
	switch name {
	case "":
		return errors.New("tenant must not be empty; use Global for locks of all tenants")
	case noTenant:
		return fmt.Errorf("tenant must not be %q, which is reserved", name)
	}
	return validatePart("tenant", name)
}

func validatePart(what, name string) error {
	switch {
	case strings.Contains(name, ":"):
		return fmt.Errorf("%s must not contain a colon, got %q", what, name)
	case !utf8.ValidString(name):
		return fmt.Errorf("%s must be valid UTF-8, got %q", what, name)
	}
	return nil
}
