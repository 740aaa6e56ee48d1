package daprapi

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// separator stands between the parts of a key, and in none of them.
const separator = "||"

// keyPrefix is what the keys of a component's locks begin with.
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

// strategy is the component's keyPrefix in lower case. An empty one is not the same as
// none.
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

// fill puts in the values that daprd puts into metadata.
func (o Options) expand(text string) (string, error) {
	if strings.Contains(text, "{podName}") && o.PodName == "" {
		return "", errors.New("refers to {podName}, which is not known")
	}
	for strings.Contains(text, "{uuid}") {
		text = strings.Replace(text, "{uuid}", uuid.NewString(), 1)
	}
	text = strings.ReplaceAll(text, "{podName}", o.PodName)
	text = strings.ReplaceAll(text, "{namespace}", o.Namespace+"."+o.AppID)
	return strings.ReplaceAll(text, "{appID}", o.AppID), nil
}

// keyOf is the key of a resource's lock.
func keyOf(prefix, resource string) (string, error) {
	return prefix + resource, checkNoSeparator(resource)
}

func join(parts ...string) string { return strings.Join(parts, separator) }

// separable returns an error if the part has a separator in it, with daprd's words.
func checkNoSeparator(part string) error {
	if strings.Contains(part, separator) {
		return fmt.Errorf("input key/keyPrefix '%s' can't contain '%s'", part, separator)
	}
	return nil
}
