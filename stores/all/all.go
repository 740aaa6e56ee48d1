// Package all is the one place that imports every backend.
package all

import (
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
	"github.com/mortise-lock/mortise/stores/redis"
)

// Backends returns a registry of every store there is. Memory locks live as long as the
// registry. A component that names no store gets the one called fallback.
func Backends(fallback string) *stores.Registry {
	r := stores.NewRegistry(fallback)
	r.Register("memory", memory.NewProcess().Backend())
	r.Register("redis", redis.Backend())
	return r
}
