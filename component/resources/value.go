package resources

import (
	"errors"
	"fmt"
	"strings"
)

// The errors of [Loader.Properties] for values that only daprd knows.
var (
	// ErrSecret reports a value in a secret store, which only daprd can read.
	ErrSecret = errors.New("is in a secret store")
	// ErrNoVariable reports a reference to an environment variable that this process does
	// not have.
	ErrNoVariable = errors.New("is not set in Mortise's environment")
)

const (
	// envKeysVariable lists the variables that metadata may refer to. Dapr's injector
	// sets it.
	envKeysVariable = "DAPR_ENV_KEYS"

	appTokenKey   = "APP_API_TOKEN"
	daprKeyPrefix = "DAPR_"
)

// Properties returns the component's metadata as daprd sends it, except that it does not
// replace placeholders. If only daprd knows some values, Properties returns the others
// and an error that wraps ErrSecret or ErrNoVariable.
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

// value returns the value of an item. A reference to a variable counts only without a
// value, and a secret only without such a variable. A secret replaces a value.
func (l Loader) value(c *Component, item Item) (string, error) {
	switch {
	case len(item.Value) == 0 && item.EnvRef != "":
		return l.variable(c, item)
	case item.SecretKeyRef.Name != "":
		return "", ErrSecret
	}
	return item.Value.String(), nil
}

// variable returns the value of the variable that an item refers to. For a variable that
// metadata may not refer to it logs a warning and returns "".
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

// mayReferTo reports whether daprd allows metadata to refer to the variable. Like daprd
// it compares the name in upper case with the list, and considers only the first
// occurrence of the name in the list.
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
