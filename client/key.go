package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Signs that stand in a key for what is no tenant's name.
const (
	noTenant     = "~" // nobody said which tenant
	globalTenant = "-" // somebody said: none, for all
)

// tenant is whose lock of a resource it is. The zero value says nothing about it.
type tenant struct {
	kind tenantKind
	name string // if named
}

type tenantKind int

const (
	unsaid tenantKind = iota
	named
	global
)

type tenantKey struct{}

// WithTenant returns a ctx in which locks are the tenant's own, unless a call has [Tenant] or [Global]. It is stronger than the
// client's default.
func WithTenant(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, tenantKey{}, tenant{kind: named, name: name})
}

// apply returns the settings of one call: those of the client, ctx's tenant, and the call's own options, the last the strongest.
func (s settings) apply(ctx context.Context, opts []Option) settings {
	if t, ok := ctx.Value(tenantKey{}).(tenant); ok {
		s.tenant = t
	}
	return s.with(opts)
}

// key returns the lock's name in the store: the resource as it is if there is neither namespace nor tenant, else
// "namespace:tenant:resource".
func (s settings) key(resource string) (string, error) {
	if !utf8.ValidString(resource) {
		return "", errors.New("resource is not valid UTF-8")
	}
	if s.namespace == "" && s.tenant.kind == unsaid {
		return resource, nil
	}
	if err := validatePart("namespace", s.namespace); err != nil {
		return "", err
	}
	sign, err := s.tenant.sign()
	if err != nil {
		return "", err
	}
	return s.namespace + ":" + sign + ":" + resource, nil
}

// sign is how the tenant is written in a key.
func (t tenant) sign() (string, error) {
	switch {
	case t.kind == unsaid:
		return noTenant, nil
	case t.kind == global:
		return globalTenant, nil
	case t.name == "":
		return "", errors.New("tenant is empty; Global is for locks of all tenants")
	case t.name == noTenant || t.name == globalTenant:
		return "", fmt.Errorf("tenant %q has a meaning of its own", t.name)
	}
	return t.name, validatePart("tenant", t.name)
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
