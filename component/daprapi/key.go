package daprapi

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/mortise-lock/mortise/component/internal/keyprefix"
)

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
	prefix, ok := keyprefix.Of(metadata)
	if !ok {
		return "appid", nil
	}
	filled, err := o.expand(prefix)
	strategy := strings.ToLower(filled)
	return strategy, errors.Join(err, keyprefix.CheckPart(strategy))
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
	return prefix + resource, keyprefix.CheckPart(resource)
}

func join(parts ...string) string { return strings.Join(parts, keyprefix.Separator) }
