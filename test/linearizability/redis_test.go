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

// redisSlack is the resolution of Redis's times, one millisecond, and a margin for a
// clock that is being adjusted.
const redisSlack = 5 * time.Millisecond

// redisHarness runs the redis store.
func redisHarness(storage func(t testing.TB) Storage) Harness {
	return Harness{
		Storage:    storage,
		Seeds:      40,
		Operations: 300,
		Lease:      24 * time.Millisecond,
		Rules: Rules{
			Unit:         time.Millisecond,
			Slack:        redisSlack,
			Handover:     true,
			RequestDelay: time.Second,            // the length of a history
			FaultDelay:   500 * time.Millisecond, // longer than a stall
			Retries:      3,
			Linger:       3 * time.Second,
		},
	}
}

// droppingReplies returns a storage that sometimes drops a reply and its connection.
func droppingReplies(t *testing.T, metadata map[string]string) func(t testing.TB) Storage {
	server := servers.StartRedis(t)
	return func(t testing.TB) Storage {
		proxy := servers.StartProxy(t, server.Addr)
		return Storage{Open: openRedis(t, proxy.Addr, metadata), InjectFault: func() { proxy.LoseAnswers(1) }}
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

func TestRedis(t *testing.T) {
	server := servers.StartRedis(t)
	Run(t, redisHarness(func(t testing.TB) Storage { return Storage{Open: openRedis(t, server.Addr, nil)} }))
}

func TestRedis_LostReplies(t *testing.T) {
	h := redisHarness(droppingReplies(t, map[string]string{"redisMaxRetries": "-1"}))
	h.Seeds = 20
	h.Rules.FaultDelay, h.Rules.Retries = time.Nanosecond, 0
	Run(t, h)
}

func TestRedis_RetriedRequests(t *testing.T) {
	h := redisHarness(droppingReplies(t, map[string]string{"redisMinRetryInterval": "8ms"}))
	h.Seeds = 20
	h.Rules.FaultDelay = 8 * time.Millisecond
	Run(t, h)
}
