package layotto

import (
	"strings"

	"github.com/mortise-lock/mortise/component/internal/keyprefix"
)

const apiPrefix = "lock|||"

// keyPrefix returns the prefix of the keys of a component's locks. It contains what the
// component's metadata keyPrefix says, by default the app's id.
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
		return apiPrefix // the app has no id
	}
	return apiPrefix + scope + keyprefix.Separator
}

// key checks the message and returns the key of its lock.
func (s *Service) key(m lockMessage) (string, error) {
	if err := s.check(m); err != nil {
		return "", err
	}
	key := s.prefixes[m.GetStoreName()] + m.GetResourceId()
	return key, checkBounds(m, key)
}
