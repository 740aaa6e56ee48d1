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
	patience = 3 * time.Minute      // for a whole scenario, which is slow on a loaded machine; in a bubble an hour, which costs nothing
	pause    = 2 * time.Millisecond // between two looks at something that nobody tells
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
type place struct {
	api   func(testing.TB, rtmpb.ChannelLocksServer) api
	redis *redis // nil: memory
}

// redis is a server with databases that nobody has used.
type redis struct {
	*servers.Redis
	used atomic.Int64 // databases
}

// databases are enough for all that one test does.
const databases = "1024"

func startRedis(t *testing.T) *redis {
	return &redis{Redis: servers.StartRedis(t, "--databases", databases)}
}

// everywhere runs a test at each way in, with each store.
func everywhere(t *testing.T, test func(t *testing.T, p place)) {
	server := startRedis(t)
	for _, d := range apis {
		t.Run("memory, "+d.name, func(t *testing.T) { test(t, place{d.open, nil}) })
		t.Run("redis, "+d.name, func(t *testing.T) { test(t, place{d.open, server}) })
	}
}

// run runs a test in a world of its own.
func (p place) run(t *testing.T, name string, test func(w *world)) {
	t.Run(name, func(t *testing.T) { p.alone(t, nil, test) })
}

// alone runs a test in a world of its own, in which the component has the metadata.
func (p place) alone(t *testing.T, metadata map[string]string, test func(w *world)) {
	if p.redis == nil {
		synctest.Test(t, func(t *testing.T) { test(p.create(t, time.Hour, metadata, 1)) })
		return
	}
	test(p.create(t, patience, metadata, 1))
}

// world is a storage, the services that use it, and a way in to each.
type world struct {
	*testing.T
	place
	ctx      context.Context
	apis     []api
	services []*rtm.Service
	sets     []*instances.Set
}

// create makes a world with n services. They have processes of their own, so to say,
// unless the store is memory.
func (p place) create(t *testing.T, bound time.Duration, metadata map[string]string, n int) *world {
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	t.Cleanup(cancel)
	w := &world{T: t, place: p, ctx: ctx}
	metadata = p.metadata(metadata)
	for range n {
		w.add(openSet(t, registry(), metadata))
	}
	return w
}

// add adds a service that uses the components, and a way in to it.
func (w *world) add(set *instances.Set) {
	service := rtm.New(set.Resolver(), quiet())
	w.Cleanup(service.Close)
	w.sets, w.services, w.apis = append(w.sets, set), append(w.services, service), append(w.apis, w.api(w.T, service))
}

// metadata is the component's: what a test wants, and the storage, in which there is
// nothing.
func (p place) metadata(wanted map[string]string) map[string]string {
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

func openSet(t *testing.T, r *stores.Registry, metadata map[string]string) *instances.Set {
	set := instances.New(r, quiet())
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
func (w *world) queue(a ask, n int) {
	w.Helper()
	group := fmt.Sprintf("rtm||%d||%s||", a.kind, a.channel)
	w.until(fmt.Sprintf("%d calls wait for %s", n, a.lock), func() bool {
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
func (w *world) until(what string, so func() bool) {
	w.Helper()
	for !so() {
		select {
		case <-time.After(pause):
		case <-w.ctx.Done():
			w.Fatal("it never came about that " + what)
		}
	}
}

// quiet is a log without what goes well.
func quiet() logger.Logger {
	log := logger.NewLogger("channels")
	log.SetOutputLevel(logger.WarnLevel)
	return log
}
