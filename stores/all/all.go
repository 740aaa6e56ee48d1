// Package all returns a registry of all backends. No other package imports all of them.
package all

import (
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
	"github.com/mortise-lock/mortise/stores/redis"
)

// Backends returns a registry of all backends. The locks of the memory store exist as
// long as the registry. A component whose metadata has no key store uses the backend
// fallback.
func Backends(fallback string) *stores.Registry {
	r := stores.NewRegistry(fallback)
	r.Register("memory", memory.NewProcess().Backend())
	r.Register("redis", redis.Backend())
	return r
}
