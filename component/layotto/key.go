package layotto

import (
	"fmt"
	"strings"
)

const (
	apiPrefix = "lock|||"
	separator = "||"
)

// ValidateKeyPrefix returns an error for a metadata keyPrefix that Layotto does not start with.
func ValidateKeyPrefix(prefix string) error {
	if strings.Contains(prefix, separator) {
		return fmt.Errorf("input key/keyPrefix '%s' can't contain '%s'", prefix, separator)
	}
	return nil
}

// key is the final name of the message's lock in its store, once the message has passed all checks.
func (s *Service) key(m named) (string, error) {
	if err := s.check(m); err != nil {
		return "", err
	}
	prefix, known := s.components.KeyPrefix(m.GetStoreName())
	if !known || m.GetStoreName() == "" {
		return "", notFound(m)
	}
	for _, part := range []string{prefix, m.GetResourceId()} {
		if err := ValidateKeyPrefix(part); err != nil {
			return "", err
		}
	}
	key := apiPrefix + s.scope(prefix, m.GetStoreName()) + m.GetResourceId()
	return key, checkBounds(m, key)
}

// scope is what the locks of different apps, or of different stores, differ by: as keyPrefix says, the app's id unless it says
// something else.
func (s *Service) scope(prefix, store string) string {
	scope := strings.ToLower(prefix)
	switch scope {
	case "none":
		return ""
	case "name":
		scope = store
	case "", "appid":
		scope = s.appID
	}
	if scope == "" {
		return "" // an app without an id
	}
	return scope + separator
}
