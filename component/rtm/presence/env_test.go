package presence

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/rtm/internal/rtmtest"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// env is a pool with a component called locks, in a bubble. Its methods lock in the
// channel c, with a TTL of 10s.
type env struct {
	*rtmtest.Env
	*Pool
}

// withEnv runs a test with a memory store.
func withEnv(t *testing.T, test func(w *env)) {
	withEmptyEnv(t, func(w *env) {
		w.Open("memory", nil)
		test(w)
	})
}

// withEmptyEnv is like withEnv, but no component is open.
func withEmptyEnv(t *testing.T, test func(w *env)) {
	type config struct {
		Limit int `mapstructure:"rtmLocksPerChannel"` // for components that differ
	}
	register := func(r *stores.Registry) {
		r.Register("memory", memory.NewProcess().Backend())
		r.Common(&config{}, func(map[string]string) error { return nil })
	}
	rtmtest.Run(t, register, func(w *rtmtest.Env, log logger.Logger) {
		p := NewPool(log)
		test(&env{w, p})
		p.Close()
	})
}

var channelC = Channel{rtmpb.ChannelType_MESSAGE, "c"}

func lockNamed(name string) Lock { return Lock{channelC, name} }

// store returns the component's store.
func (w *env) store() instances.Instance {
	w.Helper()
	store, err := w.Set.Resolver().Find(w.Context(), "locks")
	if err != nil {
		w.Fatal(err)
	}
	return store
}

// do calls fn with the component's store.
func (w *env) do(fn func(context.Context, stores.Store) error) {
	w.Helper()
	err := w.store().Do(w.Context(), func(s stores.Store) error { return fn(w.Context(), s) })
	if err != nil {
		w.Fatal(err)
	}
}

func (w *env) setLock(name string) {
	w.Helper()
	w.do(func(ctx context.Context, s stores.Store) error {
		d := stores.Declaration{Group: channelC.Group(), Key: lockNamed(name).Key(), TTL: 10 * time.Second, Limit: 32}
		return stores.Declare(ctx, s, d)
	})
}

func (w *env) removeLock(name string) {
	w.Helper()
	w.do(func(ctx context.Context, s stores.Store) error {
		return stores.Withdraw(ctx, s, channelC.Group(), lockNamed(name).Key())
	})
}

// acquire acquires the lock for the user, and returns its token.
func (w *env) acquire(user, name string) uint64 {
	w.Helper()
	var grant stores.Grant
	w.do(func(ctx context.Context, s stores.Store) (err error) {
		r := stores.Request{Group: channelC.Group(), Key: lockNamed(name).Key(), Owner: user}
		grant, err = stores.TryLock(ctx, s, r)
		return err
	})
	if !grant.Acquired {
		w.Fatalf("%s does not acquire %s", user, name)
	}
	w.AddGrant(User{w.store(), user}, lockNamed(name), grant)
	return grant.Token
}

func (w *env) release(user, name string) {
	w.Helper()
	w.do(func(ctx context.Context, s stores.Store) error {
		return stores.Unlock(ctx, s, lockNamed(name).Key(), user)
	})
}

// info returns the state of the lock in the store.
func (w *env) info(name string) (info stores.LockInfo) {
	w.Helper()
	w.do(func(ctx context.Context, s stores.Store) error {
		locks, err := stores.Group(ctx, s, channelC.Group())
		for _, l := range locks {
			if l.Key == lockNamed(name).Key() {
				info = l
			}
		}
		return err
	})
	return info
}

func (w *env) checkOwner(owner, name string) {
	w.Helper()
	if got := w.info(name).Owner; got != owner {
		w.Errorf("owner of %s = %q, want %q", name, got, owner)
	}
}

// subscribeTo subscribes to the channel. A slow subscriber reads one event.
func (w *env) subscribeTo(slow bool) *rtmtest.EventRecorder {
	h := w.Record(func(ctx context.Context, send func(*rtmpb.LockEvent) error) error {
		return w.Subscribe(ctx, w.store(), channelC, send)
	})
	if !slow {
		close(h.Pace)
	}
	return h
}

// openSession opens a session without claims.
func (w *env) openSession(user string) *rtmtest.EventRecorder {
	check := func(context.Context, []HeldLock) (right, wrong []HeldLock, err error) { return nil, nil, nil }
	h := w.Record(func(ctx context.Context, send func(*rtmpb.LockEvent) error) error {
		return w.Session(ctx, User{w.store(), user}, nil, check, send)
	})
	close(h.Pace)
	synctest.Wait()
	return h
}

// hub returns the hub of the component's store, or nil.
func (w *env) hub() *hub {
	w.Helper()
	store := w.store()
	w.Pool.mu.Lock()
	defer w.Pool.mu.Unlock()
	return w.Pool.open[store]
}
