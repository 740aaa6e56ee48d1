package rtm

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc/peer"

	"github.com/mortise-lock/mortise/component/instances"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// env is a service with a memory store called locks, in a bubble.
type env struct {
	*testing.T
	*Service
	set  *instances.Set
	conn net.Conn // connection of calls; nil for a client that opens no components
}

// sidecar returns the same env with another connection.
func (w *env) sidecar() *env {
	w.Helper()
	inner, _ := net.Pipe()
	conn, err := w.set.Listener(pipe{inner}).Accept()
	if err != nil {
		w.Fatal(err)
	}
	return &env{w.T, w.Service, w.set, conn}
}

// pipe is a listener that accepts one connection.
type pipe struct{ net.Conn }

func (p pipe) Accept() (net.Conn, error) { return p.Conn, nil }
func (p pipe) Addr() net.Addr            { return p.LocalAddr() }

// Context returns the context of calls on the connection.
func (w *env) Context() context.Context {
	if w.conn == nil {
		return w.T.Context()
	}
	return peer.NewContext(w.T.Context(), &peer.Peer{Addr: w.conn.RemoteAddr()})
}

// open opens the component locks on the connection, in the given storage.
func (w *env) open(storage, locksPerChannel string) {
	w.Helper()
	md := map[string]string{"store": storage, "rtmLocksPerChannel": locksPerChannel}
	if err := w.set.Open(w.Context(), "locks", md); err != nil {
		w.Fatal(err)
	}
}

// withEnv runs a test in a bubble. It closes the service and the store afterwards.
func withEnv(t *testing.T, test func(w *env)) {
	withEmptyEnv(t, func(w *env) {
		w.open("memory", "")
		test(w)
	})
}

// withEmptyEnv is like withEnv, but no component is open. There are two storages, memory
// and other.
func withEmptyEnv(t *testing.T, test func(w *env)) {
	synctest.Test(t, func(t *testing.T) {
		log := logger.NewLogger("test")
		registry := stores.NewRegistry("memory")
		registry.Register("memory", memory.NewProcess().Backend())
		registry.Register("other", memory.NewProcess().Backend())
		registry.Common(&Config{}, CheckConfig)
		set := instances.New(registry, log)
		w := &env{t, New(set.Resolver(), log), set, nil}
		test(w)
		w.Close()
		if err := set.Close(); err != nil {
			t.Error(err)
		}
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

// eventRecorder records the events of a stream.
type eventRecorder struct {
	cancel context.CancelFunc
	ended  chan error
	pace   chan struct{} // each element lets Send return once; always if it is closed

	mu     sync.Mutex
	events []*rtmpb.LockEvent
}

// record runs a stream until the test ends or the recorder is canceled.
func (w *env) record(run func(ctx context.Context, send func(*rtmpb.LockEvent) error) error) *eventRecorder {
	ctx, cancel := context.WithCancel(w.Context())
	h := &eventRecorder{cancel: cancel, ended: make(chan error, 1), pace: make(chan struct{})}
	go func() {
		h.ended <- run(ctx, func(e *rtmpb.LockEvent) error {
			h.mu.Lock()
			h.events = append(h.events, e)
			h.mu.Unlock()
			select {
			case <-h.pace:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	synctest.Wait()
	return h
}

func (w *env) subscribeTo(slow bool) *eventRecorder {
	h := w.record(func(ctx context.Context, send func(*rtmpb.LockEvent) error) error {
		return w.subscribe(ctx, &rtmpb.SubscribeRequest{User: "eve", Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE}, send)
	})
	if !slow {
		close(h.pace)
	}
	return h
}

func (w *env) openSession(user string, held ...*rtmpb.LockDetail) *eventRecorder {
	h := w.record(func(ctx context.Context, send func(*rtmpb.LockEvent) error) error {
		return w.session(ctx, &rtmpb.SessionRequest{User: user, Held: held}, send)
	})
	close(h.pace)
	synctest.Wait()
	return h
}

// summary returns a line for each event so far: its type, lock and owner.
func (h *eventRecorder) summary() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	var lines []string
	for _, e := range h.events {
		if e.GetEventType() == rtmpb.LockEvent_SNAPSHOT {
			lines = append(lines, fmt.Sprint("SNAPSHOT of ", len(e.GetLocks())))
		} else {
			lines = append(lines, fmt.Sprint(e.GetEventType(), " ", e.GetLockName(), " ", e.GetOwner()))
		}
	}
	return lines
}

func (h *eventRecorder) check(t *testing.T, want ...string) {
	t.Helper()
	if got := h.summary(); !slices.Equal(got, want) {
		t.Errorf("events = %q, want %q", got, want)
	}
}

func (w *env) hub() *hub {
	w.Helper()
	store, err := w.components.Find(w.Context(), "locks")
	if err != nil {
		w.Fatal(err)
	}
	w.hubs.mu.Lock()
	defer w.hubs.mu.Unlock()
	return w.hubs.open[store]
}
