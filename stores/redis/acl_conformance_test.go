package redis_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dapr/kit/logger"
	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/redis"
	"github.com/mortise-lock/mortise/test/conformance"
	"github.com/mortise-lock/mortise/test/servers"
)

// conformanceKeys matches the keys of the suite: a prefix of 16 digits and a name.
const conformanceKeys = "~????????????????/*"

// startRestricted starts a server with data of other programs and the user that the
// example component documents.
func startRestricted(t *testing.T) stores.Component {
	t.Helper()
	server, admin := servers.StartRestrictedRedis(t, "../../deploy/components/redis.yaml", conformanceKeys)
	for i := range 50 {
		admin.Set(t.Context(), fmt.Sprint("other:page:", i), "x", 0)
		admin.Set(t.Context(), fmt.Sprint("other:session:", i), "x", time.Hour)
		admin.HSet(t.Context(), fmt.Sprint("other:order:", i), "total", 5)
	}
	admin.LPush(t.Context(), "other:list", "x")
	admin.ZAdd(t.Context(), "other:zset", goredis.Z{Score: 1, Member: "x"})
	return stores.Component{
		Name:     "locks",
		Metadata: map[string]string{"redisHost": server.Addr, "redisUsername": servers.User, "redisPassword": servers.Password},
		Log:      logger.NewLogger("test"),
	}
}

// TestConformance_DocumentedPermissions runs the suite as a user with the documented
// permissions only.
func TestConformance_DocumentedPermissions(t *testing.T) {
	t.Parallel()
	component := startRestricted(t)
	conformance.Run(t, conformance.Harness{
		Storage: func(t testing.TB) func() stores.Store {
			return func() stores.Store { return openRestricted(t, component) }
		},
		Features: []string{"DECLARE", "FENCING", "LIST", "MULTI", "PING", "RENEW", "REVOKE", "WAIT", "WATCH"},
		MinTTL:   time.Millisecond,
		Slack:    300 * time.Millisecond,
	})
}

func openRestricted(t testing.TB, component stores.Component) stores.Store {
	t.Helper()
	s, err := redis.Backend().Open(t.Context(), component)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestList_DocumentedPermissions lists and watches all locks as that user.
func TestList_DocumentedPermissions(t *testing.T) {
	t.Parallel()
	s := openRestricted(t, startRestricted(t))
	t.Cleanup(func() { _ = s.Close() })
	g, err := s.TryLock(t.Context(), stores.Request{Key: "lock||k", Owner: "o", TTL: time.Minute})
	if err != nil || !g.Acquired {
		t.Fatalf("%+v, %v", g, err)
	}
	if list, err := stores.List(t.Context(), s, ""); err != nil || len(list) != 1 || list[0].Key != "lock||k" {
		t.Errorf("list: %+v, %v", list, err)
	}
	errDone := errors.New("done")
	err = stores.Watch(t.Context(), s, "", func(e stores.Event) error {
		if len(e.Locks) != 1 || e.Locks[0].Key != "lock||k" {
			t.Errorf("the snapshot has %+v", e.Locks)
		}
		return errDone
	})
	if !errors.Is(err, errDone) {
		t.Errorf("watch: %v", err)
	}
}
