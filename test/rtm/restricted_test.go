package rtm

import (
	"testing"

	"github.com/mortise-lock/mortise/test/servers"
)

// TestAUserWithTheDocumentedPermissionsIsEnough has data of another program in the
// database, too.
func TestAUserWithTheDocumentedPermissionsIsEnough(t *testing.T) {
	server, admin := servers.StartRestrictedRedis(t, "../../deploy/components/redis.yaml", "~rtm||*")
	for _, d := range apis {
		t.Run(d.name, func(t *testing.T) {
			p := place{d.open, &redis{Redis: server}}
			login := map[string]string{"redisDB": "0", "redisUsername": servers.User, "redisPassword": servers.Password}
			p.alone(t, login, func(w *world) {
				admin.Set(w.ctx, "other:page", "x", 0)
				admin.HSet(w.ctx, "other:order", "total", 5)
				newCrowd(w, 1).play()
			})
			admin.FlushAll(t.Context())
		})
	}
}
