package resources

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of [Loader.Properties] for a component that only its daprd can open.
var (
	// ErrSecret reports a value in a secret store, which only daprd can read.
	ErrSecret = errors.New("is in a secret store")
	// ErrNoVariable reports a value in an environment variable that this process does not
	// have.
	ErrNoVariable = errors.New("is not set in Mortise's environment")
)

const (
	envKeysVariable = "DAPR_ENV_KEYS" // names the variables that may be referred to; set by Dapr's injector
	appTokenKey     = "APP_API_TOKEN"
	daprKeyPrefix   = "DAPR_"
)

// Properties returns the component's metadata as daprd passes it to a component, except
// for placeholders, which stay as they are. If some of it is known to daprd only, the
// rest comes with an error that wraps ErrSecret or ErrNoVariable.
func (l Loader) Properties(c *Component) (map[string]string, error) {
	properties := make(map[string]string, len(c.Spec.Metadata))
	var unknown error
	for _, item := range c.Spec.Metadata {
		value, err := l.value(c, item)
		if err != nil {
			unknown = fmt.Errorf("metadata key %s: %w", item.Name, err)
			continue
		}
		properties[item.Name] = value
	}
	return properties, unknown
}

// value returns the value of an item. A variable is looked up only if there is no value,
// and a secret only if there is no variable. A secret takes the place of a value.
func (l Loader) value(c *Component, item Item) (string, error) {
	switch {
	case len(item.Value) == 0 && item.EnvRef != "":
		return l.variable(c, item)
	case item.SecretKeyRef.Name != "":
		return "", ErrSecret
	}
	return item.Value.String(), nil
}

// variable returns the value of the variable that an item refers to. Of a variable that
// may not be referred to it is empty, and that is logged.
func (l Loader) variable(c *Component, item Item) (string, error) {
	if !l.mayReferTo(item.EnvRef) {
		l.Log.Warnf("Component %q: metadata key %s refers to the environment variable %q, which Dapr does not allow; its value is empty",
			c.Metadata.Name, item.Name, item.EnvRef)
		return "", nil
	}
	value, ok := l.LookupEnv(item.EnvRef)
	if !ok {
		return "", fmt.Errorf("variable %s %w", item.EnvRef, ErrNoVariable)
	}
	return unquote(value), nil
}

// mayReferTo reports whether daprd lets metadata refer to the variable. It compares the
// name in upper case with the list as it is written, and looks at the first place only
// where the list contains the name.
func (l Loader) mayReferTo(variable string) bool {
	name := strings.ToUpper(variable)
	if name == appTokenKey || strings.HasPrefix(name, daprKeyPrefix) || strings.Contains(name, " ") {
		return false
	}
	allowed, _ := l.LookupEnv(envKeysVariable)
	if allowed == "" {
		return true
	}
	before, after, found := strings.Cut(allowed, name)
	return found && (before == "" || strings.HasSuffix(before, " ")) && (after == "" || strings.HasPrefix(after, " "))
}
