package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// noTenant stands in a key for a lock that is nobody's own but one for all, as in VonaJS.
const noTenant = "~"

type tenantKey struct{}

// WithTenant returns a ctx in which locks are the tenant's own, unless a call has
// [Tenant] or [Global]. It is stronger than the client's default.
func WithTenant(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, tenantKey{}, &name)
}

// apply returns the settings of one call: those of the client, ctx's tenant, and the
// call's own options, the last the strongest.
func (s settings) apply(ctx context.Context, opts []Option) settings {
	if t, ok := ctx.Value(tenantKey{}).(*string); ok {
		s.tenant = t
	}
	return s.with(opts)
}

// key returns the lock's name in the store: the resource as it is if there is neither
// namespace nor tenant, else "namespace:tenant:resource".
func (s settings) key(resource string) (string, error) {
	if !utf8.ValidString(resource) {
		return "", errors.New("resource is not valid UTF-8")
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
		return errors.New("tenant is empty; Global is for locks of all tenants")
	case noTenant:
		return fmt.Errorf("tenant %q has a meaning of its own", name)
	}
	return validatePart("tenant", name)
}

func validatePart(what, name string) error {
	switch {
	case strings.Contains(name, ":"):
		return fmt.Errorf("%s %q contains a colon", what, name)
	case !utf8.ValidString(name):
		return fmt.Errorf("%s is not valid UTF-8", what)
	}
	return nil
}
