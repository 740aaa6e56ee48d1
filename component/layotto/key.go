package layotto

import (
	"fmt"
	"strings"
)

const (
	apiPrefix = "lock|||"
	separator = "||"
)

// keyPrefix is what the keys of a component's locks begin with: what its metadata
// keyPrefix says, the app's id unless it says something else.
func (o Options) keyPrefix(component string) string {
	scope := strings.ToLower(o.KeyPrefixes[component])
	switch scope {
	case "none":
		return apiPrefix
	case "name":
		scope = component
	case "", "appid":
		scope = o.AppID
	}
	if scope == "" {
		return apiPrefix // of an app without an id
	}
	return apiPrefix + scope + separator
}

// key is the final name of the message's lock in its store, once the message has passed
// all checks.
func (s *Service) key(m lockMessage) (string, error) {
	if err := s.check(m); err != nil {
		return "", err
	}
	key := s.prefixes[m.GetStoreName()] + m.GetResourceId()
	return key, checkBounds(m, key)
}

// separable returns an error if the part of a key has a separator in it, with Layotto's
// words.
func checkNoSeparator(part string) error {
	if strings.Contains(part, separator) {
		return fmt.Errorf("input key/keyPrefix '%s' can't contain '%s'", part, separator)
	}
	return nil
}
