package rtm

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/rtm"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/all"
	"github.com/mortise-lock/mortise/test/servers"
)

// component is the name of the component that all locks are in.
const component = "locks"

const (
	// scenarioTimeout bounds a scenario on a loaded machine. In a bubble the bound is an
	// hour, which takes no time.
	scenarioTimeout = 3 * time.Minute
	// pollInterval is the time between two checks of a state that no event reports.
	pollInterval = 2 * time.Millisecond
)

// apis are the ways to connect to a service.
var apis = []struct {
	name string
	open func(testing.TB, rtmpb.ChannelLocksServer) api
}{
	{"in process", openDirect},
	{"gRPC", openGRPC},
	{"HTTP", openHTTP},
}

// target is an API and a store that a scenario runs against. Scenarios with the memory
// store run in a bubble.
type target struct {
	openAPI func(testing.TB, rtmpb.ChannelLocksServer) api
	index   int          // of the API among apis
	redis   *redisServer // nil for the memory store
}

// redisServer is a Redis server that hands out unused databases.
type redisServer struct {
	*servers.Redis
	used atomic.Int64 // databases
}

// maxDatabases is enough for all scenarios of a test.
const maxDatabases = "1024"

func startRedis(t *testing.T) *redisServer {
	return &redisServer{Redis: servers.StartRedis(t, "--databases", maxDatabases)}
}

// forEachTarget runs a test in parallel for each API with each store.
func forEachTarget(t *testing.T, test func(t *testing.T, p target)) {
	server := startRedis(t)
	forEachAPI(t, "memory, ", func(t *testing.T, p target) { test(t, p) })
	forEachAPI(t, "redis, ", func(t *testing.T, p target) {
		p.redis = server
		test(t, p)
	})
}

// forEachAPI runs a test in parallel for each API.
func forEachAPI(t *testing.T, prefix string, test func(t *testing.T, p target)) {
	for i, d := range apis {
		t.Run(prefix+d.name, func(t *testing.T) {
			t.Parallel()
			test(t, target{openAPI: d.open, index: i})
		})
	}
}

// runWithEnv runs a scenario in its own env, once with each store, or for each target if
// MORTISE_TEST_ALL is set.
func (p target) runWithEnv(t *testing.T, name string, test func(w *env)) {
	t.Run(name, func(t *testing.T) {
		p.skipVariants(t, name)
		p.withEnv(t, nil, test)
	})
}

// skipVariants skips the scenario unless the target's API is the one that has to run it
// with the target's store. Which API that is depends on the scenario's name, so that each
// API runs some scenarios with each store. With MORTISE_TEST_ALL it skips nothing.
func (p target) skipVariants(t *testing.T, scenario string) {
	t.Helper()
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(scenario))
	n := hash.Sum32()
	if p.redis != nil {
		n++
	}
	if int(n%uint32(len(apis))) != p.index {
		skipLong(t)
	}
}

// skipLong skips the test unless MORTISE_TEST_ALL is set.
func skipLong(t *testing.T) {
	t.Helper()
	if os.Getenv("MORTISE_TEST_ALL") == "" {
		t.Skip("long; make test-all runs it")
	}
}

// withEnv runs a test in its own env, in which the component has the metadata.
func (p target) withEnv(t *testing.T, metadata map[string]string, test func(w *env)) {
	if p.redis == nil {
		synctest.Test(t, func(t *testing.T) { test(p.newEnv(t, time.Hour, metadata, 1)) })
		return
	}
	test(p.newEnv(t, scenarioTimeout, metadata, 1))
}

// env is a storage, the services that use it, and a connection to each.
type env struct {
	*testing.T
	target
	ctx      context.Context
	apis     []api
	services []*rtm.Service
	sets     []*instances.Set
}

// newEnv returns an env with n services. They share no memory, as if each had its own
// process, unless the store is memory.
func (p target) newEnv(t *testing.T, bound time.Duration, metadata map[string]string, n int) *env {
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	t.Cleanup(cancel)
	w := &env{T: t, target: p, ctx: ctx}
	metadata = p.metadata(metadata)
	for range n {
		w.addService(newSet(t, registry(), metadata))
	}
	return w
}

// addService adds a service that uses the components, and a connection to it.
func (w *env) addService(set *instances.Set) {
	service := rtm.New(set.Resolver(), newLogger())
	w.Cleanup(service.Close)
	w.sets, w.services, w.apis = append(w.sets, set), append(w.services, service), append(w.apis, w.openAPI(w.T, service))
}

// metadata returns the component's metadata: an empty storage, and what the test wants.
func (p target) metadata(wanted map[string]string) map[string]string {
	metadata := map[string]string{"store": "memory"}
	if p.redis != nil {
		metadata = map[string]string{"store": "redis", "redisHost": p.redis.Addr, "redisDB": fmt.Sprint(p.redis.used.Add(1))}
	}
	maps.Copy(metadata, wanted)
	return metadata
}

// registry returns a registry of all stores, with the metadata of this API.
func registry() *stores.Registry {
	r := all.Backends("memory")
	r.Common(rtm.Config{}, rtm.CheckConfig)
	return r
}

func newSet(t *testing.T, r *stores.Registry, metadata map[string]string) *instances.Set {
	set := instances.New(r, newLogger())
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := set.Open(t.Context(), component, metadata); err != nil {
		t.Fatal(err)
	}
	return set
}

// waitForWaiters waits until n calls wait for the lock. No event reports that, so it
// polls the store.
func (w *env) waitForWaiters(a request, n int) {
	w.Helper()
	group := fmt.Sprintf("rtm||%d||%s||", a.kind, a.channel)
	w.waitUntil(fmt.Sprintf("%d calls wait for %s", n, a.lock), func() bool {
		var locks []stores.LockInfo
		err := w.sets[0].Do(w.ctx, component, func(s stores.Store) (err error) {
			locks, err = stores.Group(w.ctx, s, group)
			return err
		})
		if err != nil {
			w.Fatal(err)
		}
		for _, l := range locks {
			if l.Key == group+a.lock {
				return l.Waiters == n
			}
		}
		return n == 0
	})
}

// waitUntil waits until the condition is true.
func (w *env) waitUntil(what string, condition func() bool) {
	w.Helper()
	for !condition() {
		select {
		case <-time.After(pollInterval):
		case <-w.ctx.Done():
			w.Fatalf("timeout before %s", what)
		}
	}
}

// newLogger returns a log of warnings and errors.
func newLogger() logger.Logger {
	log := logger.NewLogger("rtm")
	log.SetOutputLevel(logger.WarnLevel)
	return log
}
