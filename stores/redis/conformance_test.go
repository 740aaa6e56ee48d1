package redis_test

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/redis"
	"github.com/mortise-lock/mortise/test/conformance"
	"github.com/mortise-lock/mortise/test/servers"
)

func TestStoreKeepsTheContract(t *testing.T) {
	backend := redis.Backend()
	addr := servers.StartRedis(t, "--databases", "1000").Addr
	var databases atomic.Int64 // one for each row, because owners of one name are one owner to ErrDeadlock
	conformance.Run(t, conformance.Harness{
		Storage: func(t testing.TB) func() stores.Store {
			component := stores.Component{
				Name:     "locks",
				Metadata: map[string]string{"redisHost": addr, "redisDB": strconv.FormatInt(databases.Add(1), 10)},
				Log:      logger.NewLogger("test"),
			}
			return func() stores.Store {
				s, err := backend.Open(t.Context(), component)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
		},
		Features: []string{"FENCING", "LIST", "MULTI", "PING", "RENEW", "REVOKE", "WAIT", "WATCH"},
		MinTTL:   time.Millisecond,
		Slack:    300 * time.Millisecond,
	})
}
