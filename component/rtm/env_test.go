package rtm

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/component/rtm/internal/rtmtest"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// env is a service with a component called locks, in a bubble.
type env struct {
	*rtmtest.Env
	*Service
}

// sidecar returns the same env with another connection.
func (w *env) sidecar() *env { return &env{w.Env.Sidecar(), w.Service} }

// withEnv runs a test with a memory store.
func withEnv(t *testing.T, test func(w *env)) {
	withEmptyEnv(t, func(w *env) {
		w.Open("memory", nil)
		test(w)
	})
}

// withEmptyEnv is like withEnv, but no component is open. There are two storages, memory
// and other.
func withEmptyEnv(t *testing.T, test func(w *env)) {
	register := func(r *stores.Registry) {
		r.Register("memory", memory.NewProcess().Backend())
		r.Register("other", memory.NewProcess().Backend())
		r.Common(&Config{}, CheckConfig)
	}
	rtmtest.Run(t, register, func(w *rtmtest.Env, log logger.Logger) {
		s := New(w.Set.Resolver(), log)
		test(&env{w, s})
		s.Close()
	})
}

func (w *env) setLock(name string) {
	w.Helper()
	_, err := w.SetLock(w.Context(), &rtmpb.SetLockRequest{User: "eve", Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: name})
	if err != nil {
		w.Fatal(err)
	}
}

func (w *env) acquire(user, name string) uint64 {
	w.Helper()
	l, err := w.AcquireLock(w.Context(), &rtmpb.AcquireLockRequest{
		User: user, Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: name,
	})
	if err != nil {
		w.Fatal(err)
	}
	return l.GetLockRev()
}

func (w *env) release(user, name string) {
	w.Helper()
	_, err := w.ReleaseLock(w.Context(), &rtmpb.ReleaseLockRequest{
		User: user, Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: name,
	})
	if err != nil {
		w.Fatal(err)
	}
}

// owner returns the owner of the lock.
func (w *env) owner(name string) string {
	w.Helper()
	locks, err := w.GetLock(w.Context(), &rtmpb.GetLockRequest{User: "eve", Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE})
	if err != nil {
		w.Fatal(err)
	}
	for _, l := range locks.GetLocks() {
		if l.GetLockName() == name {
			return l.GetOwner()
		}
	}
	return "(the lock does not exist)"
}

func (w *env) checkOwner(owner, name string) {
	w.Helper()
	if got := w.owner(name); got != owner {
		w.Errorf("owner of %s = %q, want %q", name, got, owner)
	}
}

func (w *env) subscribeTo(slow bool) *rtmtest.EventRecorder {
	h := w.Record(func(ctx context.Context, send func(*rtmpb.LockEvent) error) error {
		return w.subscribe(ctx, &rtmpb.SubscribeRequest{User: "eve", Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE}, send)
	})
	if !slow {
		close(h.Pace)
	}
	return h
}

func (w *env) openSession(user string, held ...*rtmpb.LockDetail) *rtmtest.EventRecorder {
	h := w.Record(func(ctx context.Context, send func(*rtmpb.LockEvent) error) error {
		return w.session(ctx, &rtmpb.SessionRequest{User: user, Held: held}, send)
	})
	close(h.Pace)
	synctest.Wait()
	return h
}
