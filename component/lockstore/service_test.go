package lockstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"github.com/dapr/kit/logger"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	"github.com/mortise-lock/mortise/stores"
)

// scripted is a store that returns grant and err.
type scripted struct {
	stores.Store
	grant    stores.Grant
	err      error
	received stores.Request
}

func (s *scripted) TryLock(_ context.Context, req stores.Request) (stores.Grant, error) {
	s.received = req
	return s.grant, s.err
}

func (s *scripted) Unlock(context.Context, string, string) error { return s.err }
func (s *scripted) Close() error                                 { return nil }

// pingableStore is scripted with a Ping method.
type pingableStore struct{ *scripted }

func (a pingableStore) Ping(context.Context) error { return a.err }

// serve returns a service whose component "c" has the store, and a context for calls to
// that component.
func serve(t *testing.T, store stores.Store) (*Service, context.Context) {
	t.Helper()
	r := stores.NewRegistry("scripted")
	r.Register("scripted", stores.Backend{Config: struct{}{}, Open: func(context.Context, stores.Component) (stores.Store, error) {
		return store, nil
	}})
	set := instances.New(r, logger.NewLogger("test"))
	t.Cleanup(func() { _ = set.Close() })
	s, ctx := New(set), metadata.NewIncomingContext(t.Context(), metadata.Pairs(instances.Header, "c"))
	if _, err := s.Init(ctx, &lockpb.LockStoreInitRequest{}); err != nil {
		t.Fatal(err)
	}
	return s, ctx
}

func TestTryLock_Request(t *testing.T) {
	store := &scripted{grant: stores.Grant{Acquired: true, Token: math.MaxUint64, Expires: time.Now().Add(time.Hour)}}
	s, ctx := serve(t, store)
	resp, err := s.TryLock(ctx, &lockpb.TryLockRequest{ResourceId: "k", LockOwner: "o", ExpiryInSeconds: math.MaxInt32})
	if err != nil || !resp.GetSuccess() {
		t.Fatalf("%v, %v", resp, err)
	}
	if want := (stores.Request{Key: "k", Owner: "o", TTL: math.MaxInt32 * time.Second}); !reflect.DeepEqual(store.received, want) {
		t.Errorf("received %+v", store.received)
	}
	if got := resp.GetMetadata()[TokenKey]; got != "18446744073709551615" {
		t.Errorf("token %q", got)
	}
	ms, err := strconv.Atoi(resp.GetMetadata()[ExpiresInKey])
	if err != nil || ms > 3_600_000 || ms < 3_590_000 {
		t.Errorf("expires in %d ms, %v", ms, err)
	}
}

func TestTryLock_Refused(t *testing.T) {
	s, ctx := serve(t, &scripted{})
	resp, err := s.TryLock(ctx, &lockpb.TryLockRequest{ResourceId: "k", LockOwner: "o", ExpiryInSeconds: 1})
	if err != nil || resp.GetSuccess() || len(resp.GetMetadata()) != 0 {
		t.Errorf("%v, %v", resp, err)
	}
}

// cancelingStore is a store whose caller cancels while the lock is granted.
type cancelingStore struct {
	*scripted
	cancel   context.CancelFunc
	unlocked []string // keys and owners
}

func (h *cancelingStore) TryLock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	h.cancel()
	return h.scripted.TryLock(ctx, req)
}

func (h *cancelingStore) Unlock(ctx context.Context, key, owner string) error {
	h.unlocked = append(h.unlocked, key, owner)
	return ctx.Err()
}

func TestTryLock_CanceledCaller(t *testing.T) {
	store := &cancelingStore{scripted: &scripted{grant: stores.Grant{Acquired: true, Token: 1}}}
	s, ctx := serve(t, store)
	ctx, store.cancel = context.WithCancel(ctx)
	_, err := s.TryLock(ctx, &lockpb.TryLockRequest{ResourceId: "k", LockOwner: "o", ExpiryInSeconds: 1})
	if status.Code(err) != codes.Canceled || !slices.Equal(store.unlocked, []string{"k", "o"}) {
		t.Errorf("%v, and it unlocks %q", err, store.unlocked)
	}
}

func TestCalls_InvalidFields(t *testing.T) {
	long := strings.Repeat("x", stores.MaxKeyLen+1)
	for _, row := range []struct {
		name, key, owner string
		seconds          int32
		field            string
	}{
		{"empty key", "", "o", 1, "resource_id"},
		{"oversized key", long, "o", 1, "resource_id"},
		{"reserved key", "mortise:token", "o", 1, "resource_id"},
		{"empty owner", "k", "", 1, "lock_owner"},
		{"oversized owner", "k", long, 1, "lock_owner"},
		{"no expiry", "k", "o", 0, "expiry_in_seconds"},
		{"negative expiry", "k", "o", math.MinInt32, "expiry_in_seconds"},
	} {
		t.Run(row.name, func(t *testing.T) {
			store := &scripted{}
			s, ctx := serve(t, store)
			_, err := s.TryLock(ctx, &lockpb.TryLockRequest{ResourceId: row.key, LockOwner: row.owner, ExpiryInSeconds: row.seconds})
			checkField(t, err, row.field)
			if row.seconds == 1 {
				_, err = s.Unlock(ctx, &lockpb.UnlockRequest{ResourceId: row.key, LockOwner: row.owner})
				checkField(t, err, row.field)
			}
			if !reflect.DeepEqual(store.received, stores.Request{}) {
				t.Errorf("the store received %+v", store.received)
			}
		})
	}
}

func checkField(t *testing.T, err error, field string) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != codes.InvalidArgument || !strings.HasPrefix(s.Message(), field+" ") || len(s.Details()) != 1 {
		t.Fatalf("status %v", s)
	}
	bad, ok := s.Details()[0].(*errdetails.BadRequest)
	if !ok || bad.GetFieldViolations()[0].GetField() != field {
		t.Errorf("details %v", s.Details())
	}
}

func TestUnlock_Status(t *testing.T) {
	for _, row := range []struct {
		err  error
		want lockpb.UnlockResponse_Status
	}{
		{nil, lockpb.UnlockResponse_SUCCESS},
		{fmt.Errorf("x: %w", stores.ErrNotHeld), lockpb.UnlockResponse_LOCK_DOES_NOT_EXIST},
		{fmt.Errorf("x: %w", stores.ErrNotOwner), lockpb.UnlockResponse_LOCK_BELONGS_TO_OTHERS},
	} {
		s, ctx := serve(t, &scripted{err: row.err})
		resp, err := s.Unlock(ctx, &lockpb.UnlockRequest{ResourceId: "k", LockOwner: "o"})
		if err != nil || resp.GetStatus() != row.want {
			t.Errorf("%v: %v, %v", row.err, resp, err)
		}
	}
}

func TestCalls_ErrorCodes(t *testing.T) {
	for _, row := range []struct {
		err    error
		code   codes.Code
		reason string
	}{
		{fmt.Errorf("x: %w", instances.ErrNotInitialized), codes.FailedPrecondition, "NOT_INITIALIZED"},
		{fmt.Errorf("x: %w", stores.ErrUnsupported), codes.Unimplemented, "UNSUPPORTED"},
		{fmt.Errorf("x: %w", stores.ErrClosed), codes.Unavailable, "SHUTTING_DOWN"},
		{fmt.Errorf("x: %w", context.Canceled), codes.Canceled, "CANCELLED"},
		{fmt.Errorf("x: %w: %w", context.DeadlineExceeded, errors.New("i/o timeout")), codes.DeadlineExceeded, "TIMEOUT"},
		{errors.New("connection refused"), codes.Unavailable, "STORE_ERROR"},
	} {
		s, ctx := serve(t, &scripted{err: row.err})
		_, tryErr := s.TryLock(ctx, &lockpb.TryLockRequest{ResourceId: "k", LockOwner: "o", ExpiryInSeconds: 1})
		_, unlockErr := s.Unlock(ctx, &lockpb.UnlockRequest{ResourceId: "k", LockOwner: "o"})
		for _, err := range []error{tryErr, unlockErr} {
			got := status.Convert(err)
			if got.Code() != row.code || got.Message() != row.err.Error() || reason(got) != row.reason {
				t.Errorf("%v: %v with %v", row.err, got, got.Details())
			}
		}
	}
}

func reason(s *status.Status) string {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == rpcstatus.Domain {
			return info.GetReason()
		}
	}
	return ""
}

func TestInit_Fails(t *testing.T) {
	s, ctx := serve(t, &scripted{})
	_, err := s.Init(ctx, &lockpb.LockStoreInitRequest{Metadata: &daprpb.MetadataRequest{Properties: map[string]string{"stor": "memory"}}})
	got := status.Convert(err)
	if got.Code() != codes.InvalidArgument || reason(got) != "INIT_FAILED" || !strings.Contains(got.Message(), "stor") {
		t.Errorf("%v", got)
	}
}

func TestCalls_BeforeInit(t *testing.T) {
	s, _ := serve(t, &scripted{})
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(instances.Header, "another"))
	calls := map[string]func(context.Context) error{
		"TryLock": func(ctx context.Context) error {
			_, err := s.TryLock(ctx, &lockpb.TryLockRequest{ResourceId: "k", LockOwner: "o", ExpiryInSeconds: 1})
			return err
		},
		"Unlock": func(ctx context.Context) error {
			_, err := s.Unlock(ctx, &lockpb.UnlockRequest{ResourceId: "k", LockOwner: "o"})
			return err
		},
		"Features": func(ctx context.Context) error { _, err := s.Features(ctx, &daprpb.FeaturesRequest{}); return err },
		"Ping":     func(ctx context.Context) error { _, err := s.Ping(ctx, &daprpb.PingRequest{}); return err },
	}
	for name, call := range calls {
		// One names a component that is not open, the other none.
		for _, ctx := range []context.Context{ctx, t.Context()} {
			if got := status.Convert(call(ctx)); got.Code() != codes.FailedPrecondition || reason(got) != "NOT_INITIALIZED" {
				t.Errorf("%s: %v", name, got)
			}
		}
	}
}

func TestPing(t *testing.T) {
	for _, row := range []struct {
		name  string
		store stores.Store
		want  codes.Code
	}{
		{"reachable", pingableStore{&scripted{}}, codes.OK},
		{"unreachable", pingableStore{&scripted{err: errors.New("down")}}, codes.Unavailable},
		{"without Ping", &scripted{}, codes.OK},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, ctx := serve(t, row.store)
			if _, err := s.Ping(ctx, &daprpb.PingRequest{}); status.Code(err) != row.want {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestFeatures(t *testing.T) {
	s, ctx := serve(t, pingableStore{&scripted{}})
	resp, err := s.Features(ctx, &daprpb.FeaturesRequest{})
	if got := strings.Join(resp.GetFeatures(), " "); err != nil || got != "FENCING PING" {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzTryLock calls TryLock with any key, owner and expiry: valid ones reach the store
// unchanged, others are rejected with the name of the field.
func FuzzTryLock(f *testing.F) {
	f.Add("lock||app||r", "owner", int32(1))
	f.Add("", "", int32(0))
	f.Add(strings.Repeat("k", 1025), "\x00", int32(-1))
	f.Add("mortise:", "mortise:", int32(1))
	f.Fuzz(func(t *testing.T, key, owner string, seconds int32) {
		store := &scripted{grant: stores.Grant{Acquired: true}}
		s, ctx := serve(t, store)
		_, err := s.TryLock(ctx, &lockpb.TryLockRequest{ResourceId: key, LockOwner: owner, ExpiryInSeconds: seconds})
		good := len(key) > 0 && len(key) <= 1024 && !strings.HasPrefix(key, "mortise:") &&
			len(owner) > 0 && len(owner) <= 1024 && seconds > 0
		switch {
		case good && (err != nil || !reflect.DeepEqual(store.received, stores.Request{Key: key, Owner: owner, TTL: time.Duration(seconds) * time.Second})):
			t.Errorf("%v, received %+v", err, store.received)
		case !good && (status.Code(err) != codes.InvalidArgument || !reflect.DeepEqual(store.received, stores.Request{})):
			t.Errorf("accepted, or refused as %v", err)
		}
	})
}
