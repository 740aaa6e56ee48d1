package rtm

import (
	"context"
	"fmt"
	"maps"
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
	scenarioTimeout = 3 * time.Minute      // for a whole scenario, which is slow on a loaded machine; in a bubble an hour, which costs nothing
	pollInterval    = 2 * time.Millisecond // between two looks at something that nobody tells
)

// APIs are the ways in.
var apis = []struct {
	name string
	open func(testing.TB, rtmpb.ChannelLocksServer) api
}{
	{"in process", openDirect},
	{"gRPC", openGRPC},
	{"HTTP", openHTTP},
}

// place is where a test happens: a way in, and a store behind. In the memory's time is
// that of a bubble.
type target struct {
	openAPI func(testing.TB, rtmpb.ChannelLocksServer) api
	redis   *redisServer // nil: memory
}

// redis is a server with databases that nobody has used.
type redisServer struct {
	*servers.Redis
	used atomic.Int64 // databases
}

// databases are enough for all that one test does.
const maxDatabases = "1024"

func startRedis(t *testing.T) *redisServer {
	return &redisServer{Redis: servers.StartRedis(t, "--databases", maxDatabases)}
}

// everywhere runs a test at each way in, with each store.
func forEachTarget(t *testing.T, test func(t *testing.T, p target)) {
	server := startRedis(t)
	for _, d := range apis {
		t.Run("memory, "+d.name, func(t *testing.T) { test(t, target{d.open, nil}) })
		t.Run("redis, "+d.name, func(t *testing.T) { test(t, target{d.open, server}) })
	}
}

// run runs a test in a world of its own.
func (p target) runWithEnv(t *testing.T, name string, test func(w *env)) {
	t.Run(name, func(t *testing.T) { p.withEnv(t, nil, test) })
}

// alone runs a test in a world of its own, in which the component has the metadata.
func (p target) withEnv(t *testing.T, metadata map[string]string, test func(w *env)) {
	if p.redis == nil {
		synctest.Test(t, func(t *testing.T) { test(p.newEnv(t, time.Hour, metadata, 1)) })
		return
	}
	test(p.newEnv(t, scenarioTimeout, metadata, 1))
}

// world is a storage, the services that use it, and a way in to each.
type env struct {
	*testing.T
	target
	ctx      context.Context
	apis     []api
	services []*rtm.Service
	sets     []*instances.Set
}

// create makes a world with n services. They have processes of their own, so to say,
// unless the store is memory.
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

// add adds a service that uses the components, and a way in to it.
func (w *env) addService(set *instances.Set) {
	service := rtm.New(set.Resolver(), newLogger())
	w.Cleanup(service.Close)
	w.sets, w.services, w.apis = append(w.sets, set), append(w.services, service), append(w.apis, w.openAPI(w.T, service))
}

// metadata is the component's: what a test wants, and the storage, in which there is
// nothing.
func (p target) metadata(wanted map[string]string) map[string]string {
	metadata := map[string]string{"store": "memory"}
	if p.redis != nil {
		metadata = map[string]string{"store": "redis", "redisHost": p.redis.Addr, "redisDB": fmt.Sprint(p.redis.used.Add(1))}
	}
	maps.Copy(metadata, wanted)
	return metadata
}

// registry has all stores, and the metadata of this API.
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

// queue waits until n calls wait for the lock. Nobody is told, so it looks at the store.
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

// until waits until something is so.
func (w *env) waitUntil(what string, so func() bool) {
	w.Helper()
	for !so() {
		select {
		case <-time.After(pollInterval):
		case <-w.ctx.Done():
			w.Fatal("it never came about that " + what)
		}
	}
}

// quiet is a log without what goes well.
func newLogger() logger.Logger {
	log := logger.NewLogger("channels")
	log.SetOutputLevel(logger.WarnLevel)
	return log
}
