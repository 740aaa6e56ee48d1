package linearizability

import (
	"maps"
	"testing"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/redis"
	"github.com/mortise-lock/mortise/test/servers"
)

// redisSlack is the millisecond in which Redis counts, and a margin for a clock that is
// being corrected.
const redisSlack = 5 * time.Millisecond

// inRedis is the redis store.
func inRedis(storage func(t testing.TB) Storage) Harness {
	return Harness{
		Storage: storage,
		Seeds:   40,
		Each:    300,
		Lease:   24 * time.Millisecond,
		Rules: Rules{
			Unit:     time.Millisecond,
			Slack:    redisSlack,
			Handover: true,
			Late:     time.Second,            // as long as a history
			Trouble:  500 * time.Millisecond, // on a machine that stalls; well below go-redis's timeouts
			Repeats:  3,
			Linger:   3 * time.Second,
		},
	}
}

// losingAnswers is a storage that now and then loses an answer, and with it a connection.
func losingAnswers(t *testing.T, metadata map[string]string) func(t testing.TB) Storage {
	server := servers.StartRedis(t)
	return func(t testing.TB) Storage {
		proxy := servers.StartProxy(t, server.Addr)
		return Storage{Open: openRedis(t, proxy.Addr, metadata), Trouble: func() { proxy.LoseAnswers(1) }}
	}
}

// openRedis returns a function that opens clients of the Redis at addr.
func openRedis(t testing.TB, addr string, metadata map[string]string) func() stores.Store {
	backend := redis.Backend()
	component := stores.Component{Name: "locks", Metadata: map[string]string{"redisHost": addr}, Log: logger.NewLogger("test")}
	maps.Copy(component.Metadata, metadata)
	return func() stores.Store {
		s, err := backend.Open(t.Context(), component)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestRedisKeepsTheContract(t *testing.T) {
	server := servers.StartRedis(t)
	Run(t, inRedis(func(t testing.TB) Storage { return Storage{Open: openRedis(t, server.Addr, nil)} }))
}

func TestRedisKeepsTheContractWhenAnswersAreLost(t *testing.T) {
	h := inRedis(losingAnswers(t, map[string]string{"redisMaxRetries": "-1"}))
	h.Seeds = 20
	h.Rules.Trouble, h.Rules.Repeats = time.Nanosecond, 0
	Run(t, h)
}

func TestRedisKeepsTheContractWhenRequestsAreRepeated(t *testing.T) {
	h := inRedis(losingAnswers(t, map[string]string{"redisMinRetryInterval": "8ms"}))
	h.Seeds = 20
	h.Rules.Trouble = 8 * time.Millisecond
	Run(t, h)
}
