package conformance

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dapr "github.com/dapr/dapr/pkg/proto/components/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	"github.com/mortise-lock/mortise/stores"
)

func TestRun_RemoteLockStore(t *testing.T) {
	Run(t, Harness{
		Storage: func(t testing.TB) func() stores.Store {
			locks := checkedStorage(t)()
			return func() stores.Store { return dial(t, &server{store: locks}) }
		},
		Features: []string{"FENCING", "PING"},
		MinTTL:   time.Second,
		UTF8:     true,
		Bubble:   true,
	})
}

func TestRemoteLockStore_TTL(t *testing.T) {
	for _, row := range []struct {
		ttl  time.Duration
		want int32
	}{
		{time.Millisecond, 1},
		{time.Second, 1},
		{time.Second + 1, 2},
		{1500 * time.Millisecond, 2},
		{stores.MaxTTL, 1<<31 - 1},
		{stores.MaxTTL - 1, 1<<31 - 1},
	} {
		if got := wholeSeconds(row.ttl); got != row.want {
			t.Errorf("%v is sent as %d seconds, want %d", row.ttl, got, row.want)
		}
	}
}

func TestRemoteLockStore_Errors(t *testing.T) {
	for _, row := range []struct {
		name   string
		server server
		is     error
		text   string
	}{
		{name: "LOCK_DOES_NOT_EXIST", server: server{status: 1}, is: stores.ErrNotHeld},
		{name: "LOCK_BELONGS_TO_OTHERS", server: server{status: 2}, is: stores.ErrNotOwner},
		{name: "INTERNAL_ERROR", server: server{status: 3}, text: `remote: unlock "disk": the response has status INTERNAL_ERROR`},
		{name: "an unknown status", server: server{status: 9}, text: `remote: unlock "disk": the response has status 9`},
		{name: "a deadline", server: server{err: status.Error(codes.DeadlineExceeded, "")}, is: context.DeadlineExceeded},
		{name: "a failure", server: server{err: status.Error(codes.Internal, "test error")}, text: "test error"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := dial(t, &row.server).Unlock(t.Context(), "disk", "ann")
			if row.is != nil && !errors.Is(err, row.is) {
				t.Errorf("Unlock returned %v, want %v", err, row.is)
			}
			if err == nil || !strings.Contains(err.Error(), row.text) {
				t.Errorf("Unlock returned %v, want %q", err, row.text)
			}
		})
	}
}

func TestRemoteStores_FieldError(t *testing.T) {
	bad, err := status.New(codes.InvalidArgument, "key is bad").WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "key", Description: "is bad"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	plain := status.New(codes.InvalidArgument, "key is bad")
	for _, row := range []struct {
		status *status.Status
		want   stores.FieldError
	}{
		{bad, stores.FieldError{Field: "key", Problem: "is bad"}},
		{plain, stores.FieldError{}},
	} {
		for _, w := range []stores.Store{dial(t, &server{err: row.status.Err()}), dialLocks(t, &locksServer{err: row.status.Err()})} {
			err := w.Unlock(t.Context(), "disk", "ann")
			field, ok := errors.AsType[*stores.FieldError](err)
			if ok != (row.want != stores.FieldError{}) || ok && *field != row.want || !strings.HasSuffix(err.Error(), "key is bad") {
				t.Errorf("%T: %v became %v", w, row.status, err)
			}
		}
	}
}

func TestRemoteLockStore_Grant(t *testing.T) {
	for _, row := range []struct {
		name    string
		md      map[string]string
		expires time.Duration
		text    string
	}{
		{name: "complete", md: map[string]string{"fencingToken": "7", "expiresInMs": "1500"}, expires: 1500 * time.Millisecond},
		{name: "without a token", md: map[string]string{"expiresInMs": "1500"}, text: `remote: try lock "disk": fencingToken`},
		{name: "without a deadline", md: map[string]string{"fencingToken": "7"}, text: `remote: try lock "disk": expiresInMs`},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent := time.Now()
				g, err := dial(t, &server{md: row.md}).TryLock(t.Context(), stores.Request{Key: "disk", Owner: "ann", TTL: lease})
				switch {
				case row.text != "" && (err == nil || !strings.HasPrefix(err.Error(), row.text)):
					t.Errorf("TryLock returned %v, want %q", err, row.text)
				case row.text == "" && g != stores.Grant{Acquired: true, Token: 7, TTL: lease, Expires: sent.Add(row.expires)}:
					t.Errorf("TryLock returned %+v, %v", g, err)
				}
			})
		})
	}
}

func TestRemoteLockStore_Instance(t *testing.T) {
	s := &server{}
	if err := dial(t, s).Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.instance != "locks" {
		t.Errorf("%s was %q, want locks", instanceHeader, s.instance)
	}
}

// server serves LockStore from a store, or with prepared responses if store is nil.
type server struct {
	components.UnimplementedLockStoreServer
	store stores.Store

	err      error
	status   components.UnlockResponse_Status
	md       map[string]string
	instance string // of the last Ping
}

func (s *server) TryLock(ctx context.Context, req *components.TryLockRequest) (*components.TryLockResponse, error) {
	if s.store == nil {
		return &components.TryLockResponse{Success: true, Metadata: s.md}, s.err
	}
	g, err := s.store.TryLock(ctx, stores.Request{
		Key:   req.GetResourceId(),
		Owner: req.GetLockOwner(),
		TTL:   time.Duration(req.GetExpiryInSeconds()) * time.Second,
	})
	if err != nil || !g.Acquired {
		return &components.TryLockResponse{}, err
	}
	return &components.TryLockResponse{Success: true, Metadata: map[string]string{
		"fencingToken": strconv.FormatUint(g.Token, 10),
		"expiresInMs":  strconv.FormatInt(time.Until(g.Expires).Milliseconds(), 10),
	}}, nil
}

func (s *server) Unlock(ctx context.Context, req *components.UnlockRequest) (*components.UnlockResponse, error) {
	if s.store == nil {
		return &components.UnlockResponse{Status: s.status}, s.err
	}
	switch err := s.store.Unlock(ctx, req.GetResourceId(), req.GetLockOwner()); {
	case errors.Is(err, stores.ErrNotHeld):
		return &components.UnlockResponse{Status: components.UnlockResponse_LOCK_DOES_NOT_EXIST}, nil
	case errors.Is(err, stores.ErrNotOwner):
		return &components.UnlockResponse{Status: components.UnlockResponse_LOCK_BELONGS_TO_OTHERS}, nil
	default:
		return &components.UnlockResponse{}, err
	}
}

func (s *server) Ping(ctx context.Context, _ *dapr.PingRequest) (*dapr.PingResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, v := range md.Get(instanceHeader) {
		s.instance = v
	}
	return &dapr.PingResponse{}, s.err
}

// dial serves s and returns a client of it.
func dial(t testing.TB, s *server) *RemoteLockStore {
	listener := bufconn.Listen(1 << 20)
	g := grpc.NewServer()
	components.RegisterLockStoreServer(g, s)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	w := NewRemoteLockStore(conn, "locks")
	t.Cleanup(func() {
		_ = w.Close()
		g.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return w
}
