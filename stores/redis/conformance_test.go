package redis_test

import (
	"testing"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/redis"
	"github.com/mortise-lock/mortise/test/conformance"
	"github.com/mortise-lock/mortise/test/servers"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	backend := redis.Backend()
	component := stores.Component{
		Name:     "locks",
		Metadata: map[string]string{"redisHost": servers.StartRedis(t).Addr},
		Log:      logger.NewLogger("test"),
	}
	conformance.Run(t, conformance.Harness{
		Storage: func(t testing.TB) func() stores.Store {
			return func() stores.Store {
				s, err := backend.Open(t.Context(), component)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
		},
		Features: []string{"DECLARE", "FENCING", "LIST", "MULTI", "PING", "RENEW", "REVOKE", "WAIT", "WATCH"},
		MinTTL:   time.Millisecond,
		Slack:    300 * time.Millisecond,
	})
}
