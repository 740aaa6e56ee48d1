package conformance

import (
	"context"
	"errors"
	"net"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores"
)

// locksServer is a Locks service that returns prepared responses and records its calls.
type locksServer struct {
	lockspb.UnimplementedLocksServer
	err    error
	answer *lockspb.LockResponse
	wait   time.Duration            // Lock returns after wait, even if its ctx ends
	held   [][]*lockspb.Lock        // the responses of successive calls of List
	events []*lockspb.WatchResponse // what Watch sends before it fails with err

	mu    sync.Mutex
	calls []string
}

func (s *locksServer) record(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
}

func (s *locksServer) recorded() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

func (s *locksServer) TryLock(context.Context, *lockspb.TryLockRequest) (*lockspb.LockResponse, error) {
	return s.answer, s.err
}

func (s *locksServer) Lock(_ context.Context, m *lockspb.LockRequest) (*lockspb.LockResponse, error) {
	s.record("Lock " + m.GetKey())
	time.Sleep(s.wait)
	return s.answer, s.err
}

func (s *locksServer) LockAll(context.Context, *lockspb.LockAllRequest) (*lockspb.LockResponse, error) {
	s.record("LockAll")
	time.Sleep(s.wait)
	return s.answer, s.err
}

func (s *locksServer) Renew(_ context.Context, m *lockspb.RenewRequest) (*lockspb.LockResponse, error) {
	s.record("Renew " + m.GetKey())
	return &lockspb.LockResponse{Acquired: true, Token: s.answer.GetToken(), ExpiresIn: m.GetTtl()}, s.err
}

func (s *locksServer) Unlock(_ context.Context, m *lockspb.UnlockRequest) (*lockspb.UnlockResponse, error) {
	s.record("Unlock " + m.GetKey())
	return &lockspb.UnlockResponse{}, s.err
}

func (s *locksServer) List(_ *lockspb.ListRequest, stream grpc.ServerStreamingServer[lockspb.ListResponse]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) == 0 {
		return s.err
	}
	rows := s.held[0]
	s.held = s.held[1:]
	return stream.Send(&lockspb.ListResponse{Locks: rows})
}

func (s *locksServer) Watch(_ *lockspb.WatchRequest, stream grpc.ServerStreamingServer[lockspb.WatchResponse]) error {
	for _, m := range s.events {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return s.err
}

// dialLocks serves s and returns a client of it.
func dialLocks(t testing.TB, s *locksServer) *RemoteLocks {
	listener := bufconn.Listen(1 << 20)
	g := grpc.NewServer(grpc.WaitForHandlers(true))
	lockspb.RegisterLocksServer(g, s)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	w := NewRemoteLocks(conn, "locks")
	t.Cleanup(func() {
		_ = w.Close()
		g.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return w
}

// withReason returns the status of an error as the service sends it.
func withReason(t *testing.T, code codes.Code, reason string) error {
	t.Helper()
	s, err := status.New(code, "test error").WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "mortise"})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

func TestRemoteLocks_Errors(t *testing.T) {
	for _, row := range []struct {
		code   codes.Code
		reason string
		is     error
	}{
		{codes.FailedPrecondition, "NOT_HELD", stores.ErrNotHeld},
		{codes.FailedPrecondition, "NOT_OWNER", stores.ErrNotOwner},
		{codes.FailedPrecondition, "DEADLOCK", stores.ErrDeadlock},
		{codes.Unimplemented, "UNSUPPORTED", stores.ErrUnsupported},
		{codes.Unavailable, "SHUTTING_DOWN", stores.ErrClosed},
		{codes.DeadlineExceeded, "TIMEOUT", context.DeadlineExceeded},
	} {
		w := dialLocks(t, &locksServer{err: withReason(t, row.code, row.reason)})
		_, lockErr := w.Lock(t.Context(), stores.Request{Key: "disk", Owner: "ann", TTL: lease})
		_, listErr := w.List(t.Context(), "disk")
		watchErr := w.Watch(t.Context(), "disk", func(stores.Event) error { return nil })
		for call, err := range map[string]error{
			"unlock": w.Unlock(t.Context(), "disk", "ann"), "lock": lockErr, "list": listErr, "watch": watchErr,
		} {
			if want := "remote: " + call + ` "disk": ` + row.is.Error(); err == nil || !errors.Is(err, row.is) || err.Error() != want {
				t.Errorf("%s: got %v, want %s", row.reason, err, want)
			}
		}
	}
}

func TestRemoteLocks_Expires(t *testing.T) {
	full := durationpb.New(lease)
	answer := &lockspb.LockResponse{Acquired: true, Token: 7, ExpiresIn: full}
	for _, row := range []struct {
		name    string
		wait    time.Duration
		expires time.Duration // from the call
		calls   []string
	}{
		{"counts from before the call", 0, lease, []string{"Lock disk"}},
		{"counts from before a short wait", lease / 20, lease, []string{"Lock disk"}},
		{"renews after a long wait", 2 * lease, 3 * lease, []string{"Lock disk", "Renew disk"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &locksServer{answer: answer, wait: row.wait}
				w := dialLocks(t, s)
				start := time.Now()
				g, err := w.Lock(t.Context(), stores.Request{Key: "disk", Owner: "ann", TTL: lease})
				if want := (stores.Grant{Acquired: true, Token: 7, TTL: lease, Expires: start.Add(row.expires)}); err != nil || g != want {
					t.Errorf("got %+v, %v, want %+v", g, err, want)
				}
				if got := s.recorded(); !slices.Equal(got, row.calls) {
					t.Errorf("called %q", got)
				}
			})
		})
	}
}

func TestRemoteLocks_CanceledLock(t *testing.T) {
	mine := func(token uint64) []*lockspb.Lock { return []*lockspb.Lock{{Key: "disk", Owner: "ann", Token: token}} }
	other := []*lockspb.Lock{{Key: "disk", Owner: "bob", Token: 9}}
	for _, row := range []struct {
		name string
		held [][]*lockspb.Lock // before and after the call
		want []string
	}{
		{"a lock granted during the call", [][]*lockspb.Lock{other, mine(10)}, []string{"Lock disk", "Unlock disk"}},
		{"a lock granted again during the call", [][]*lockspb.Lock{mine(9), mine(10)}, []string{"Lock disk", "Unlock disk"}},
		{"not a lock held before the call", [][]*lockspb.Lock{mine(9), mine(9)}, []string{"Lock disk"}},
		{"not a lock of another owner", [][]*lockspb.Lock{mine(9), other}, []string{"Lock disk"}},
	} {
		for _, end := range []string{"cancel", "close"} {
			t.Run(row.name+", after "+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &locksServer{answer: &lockspb.LockResponse{}, wait: time.Minute, held: slices.Clone(row.held)}
					w := dialLocks(t, s)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					ended := make(chan error, 1)
					go func() {
						_, err := w.Lock(ctx, stores.Request{Key: "disk", Owner: "ann", TTL: lease})
						ended <- err
					}()
					synctest.Wait()
					want := stores.ErrClosed
					if end == "cancel" {
						want = context.Canceled
						cancel()
					} else if err := w.Close(); err != nil {
						t.Error(err)
					}
					if err := <-ended; !errors.Is(err, want) {
						t.Errorf("Lock returned %v", err)
					}
					if got := s.recorded(); !slices.Equal(got, row.want) {
						t.Errorf("called %q", got)
					}
				})
			})
		}
	}
}

func TestRemoteLocks_Watch(t *testing.T) {
	row := func(key string) *lockspb.Lock {
		return &lockspb.Lock{Key: key, Owner: "ann", Ttl: durationpb.New(lease), Token: 7}
	}
	lock := func(key string) stores.LockInfo { return stores.LockInfo{Key: key, Owner: "ann", TTL: lease, Token: 7} }
	rows := func(keys ...string) (rows []*lockspb.Lock) {
		for _, key := range keys {
			rows = append(rows, row(key))
		}
		return rows
	}
	w := dialLocks(t, &locksServer{events: []*lockspb.WatchResponse{
		{Kind: lockspb.WatchResponse_SNAPSHOT, Revision: 1, Locks: rows("a", "b"), More: true},
		{Kind: lockspb.WatchResponse_SNAPSHOT, Revision: 1, Locks: rows("c")},
		{Kind: lockspb.WatchResponse_ACQUIRED, Revision: 2, Locks: rows("d")},
		{Kind: lockspb.WatchResponse_SNAPSHOT, Revision: 5, Locks: rows("e"), Missed: true},
	}})
	var events []stores.Event
	stop := errors.New("enough")
	err := w.Watch(t.Context(), "", func(e stores.Event) error {
		if events = append(events, e); len(events) == 3 {
			return stop
		}
		return nil
	})
	want := []stores.Event{
		{Kind: stores.EventSnapshot, Revision: 1, Locks: []stores.LockInfo{lock("a"), lock("b"), lock("c")}},
		{Kind: stores.EventAcquired, Revision: 2, Lock: lock("d")},
		{Kind: stores.EventSnapshot, Revision: 5, Locks: []stores.LockInfo{lock("e")}, Missed: true},
	}
	if !errors.Is(err, stop) || !reflect.DeepEqual(events, want) {
		t.Errorf("Watch returned %v after %+v", err, events)
	}
}

func TestRemoteLocks_DeclaredLocks(t *testing.T) {
	rows := []*lockspb.Lock{
		{Key: "a", Ttl: &durationpb.Duration{}, Remaining: &durationpb.Duration{}, Declared: durationpb.New(lease)},
		{Key: "b", Owner: "ann", Ttl: durationpb.New(lease), Token: 7, Declared: durationpb.New(2 * lease)},
		{Key: "c", Owner: "bob", Ttl: durationpb.New(lease), Token: 8},
	}
	want := []stores.LockInfo{
		{Key: "a", DeclaredTTL: lease},
		{Key: "b", Owner: "ann", TTL: lease, Token: 7, DeclaredTTL: 2 * lease},
		{Key: "c", Owner: "bob", TTL: lease, Token: 8},
	}
	w := dialLocks(t, &locksServer{held: [][]*lockspb.Lock{rows}, events: []*lockspb.WatchResponse{
		{Kind: lockspb.WatchResponse_SNAPSHOT, Locks: rows},
		{Kind: lockspb.WatchResponse_DECLARED, Locks: rows[:1]},
		{Kind: lockspb.WatchResponse_WITHDRAWN, Locks: rows[1:2]},
	}})
	if got, err := w.List(t.Context(), ""); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("List returned %+v and %v, want %+v", got, err, want)
	}
	var got []stores.Event
	_ = w.Watch(t.Context(), "", func(e stores.Event) error {
		got = append(got, e)
		return nil
	})
	events := []stores.Event{
		{Kind: stores.EventSnapshot, Locks: want}, {Kind: stores.EventDeclared, Lock: want[0]}, {Kind: stores.EventWithdrawn, Lock: want[1]},
	}
	if !reflect.DeepEqual(got, events) {
		t.Errorf("Watch sent %+v, want %+v", got, events)
	}
}
