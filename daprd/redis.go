//go:build stablecomponents

package main

import (
	"github.com/dapr/components-contrib/lock/redis"
	"github.com/dapr/dapr/pkg/components/lock"
)

// Upstream has lock.redis in its full sidecar only. A lock sidecar without it has nothing
// to be compared with or migrated from.
func init() {
	lock.DefaultRegistry.RegisterComponent(redis.NewStandaloneRedisLock, "redis")
}
