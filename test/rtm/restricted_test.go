package rtm

import (
	"testing"

	"github.com/mortise-lock/mortise/test/servers"
)

// TestAUserWithTheDocumentedPermissionsIsEnough has data of another program in the
// database, too.
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
