package rtm

import (
	"testing"

	"github.com/mortise-lock/mortise/test/servers"
)

// TestRedis_DocumentedPermissions runs workers as a Redis user with the permissions that
// the component's documentation lists. The database also has keys of another program.
func TestRedis_DocumentedPermissions(t *testing.T) {
	server, admin := servers.StartRestrictedRedis(t, "../../deploy/components/redis.yaml", "~rtm||*")
	for _, d := range apis {
		t.Run(d.name, func(t *testing.T) {
			p := target{openAPI: d.open, redis: &redisServer{Redis: server}}
			login := map[string]string{"redisDB": "0", "redisUsername": servers.User, "redisPassword": servers.Password}
			p.withEnv(t, login, func(w *env) {
				admin.Set(w.ctx, "other:page", "x", 0)
				admin.HSet(w.ctx, "other:order", "total", 5)
				newWorkers(w, 1).run()
			})
			admin.FlushAll(t.Context())
		})
	}
}
