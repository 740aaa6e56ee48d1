package daprapi

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// separator separates the parts of a key. No part contains it.
const separator = "||"

// keyPrefix returns the prefix of the keys of a component's locks.
func (o Options) keyPrefix(c Component) (string, error) {
	strategy, err := o.strategy(c.Metadata)
	if err != nil {
		return "", fmt.Errorf("metadata key keyPrefix: %w", err)
	}
	switch {
	case strategy == "none", strategy == "appid" && o.AppID == "":
		return join("lock", ""), nil
	case strategy == "appid":
		return join("lock", o.AppID, ""), nil
	case strategy == "name":
		return join("lock", c.Name, ""), nil
	default:
		return join("lock", strategy, ""), nil
	}
}

// strategy returns the component's keyPrefix in lower case. An empty one is not the same
// as a missing one.
func (o Options) strategy(metadata map[string]string) (string, error) {
	for key, value := range metadata {
		if strings.EqualFold(key, "keyPrefix") {
			filled, err := o.expand(value)
			strategy := strings.ToLower(filled)
			return strategy, errors.Join(err, checkNoSeparator(strategy))
		}
	}
	return "appid", nil
}

// expand replaces the placeholders that daprd replaces in metadata.
func (o Options) expand(text string) (string, error) {
	if strings.Contains(text, "{podName}") && o.PodName == "" {
		return "", errors.New("must not contain {podName}, but POD_NAME is not set")
	}
	for strings.Contains(text, "{uuid}") {
		text = strings.Replace(text, "{uuid}", uuid.NewString(), 1)
	}
	text = strings.ReplaceAll(text, "{podName}", o.PodName)
	text = strings.ReplaceAll(text, "{namespace}", o.Namespace+"."+o.AppID)
	return strings.ReplaceAll(text, "{appID}", o.AppID), nil
}

// keyOf returns the key of a resource's lock.
func keyOf(prefix, resource string) (string, error) {
	return prefix + resource, checkNoSeparator(resource)
}

func join(parts ...string) string { return strings.Join(parts, separator) }

// checkNoSeparator returns daprd's error if the part contains a separator.
func checkNoSeparator(part string) error {
	if strings.Contains(part, separator) {
		return fmt.Errorf("input key/keyPrefix '%s' can't contain '%s'", part, separator)
	}
	return nil
}
