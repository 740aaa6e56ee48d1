//go:build stablecomponents

package main

import (
	"github.com/dapr/components-contrib/lock/redis"
	"github.com/dapr/dapr/pkg/components/lock"
)

// Upstream has lock.redis only in its full sidecar. This sidecar needs it for migrations
// and comparisons.
func init() {
	lock.DefaultRegistry.RegisterComponent(redis.NewStandaloneRedisLock, "redis")
}
