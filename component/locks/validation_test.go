package locks

import (
	"context"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores"
)

// fields are the fields of all requests. send sets those that each request has.
type fields struct {
	key, owner string
	keys       []string
	ttl, wait  *durationpb.Duration
	metadata   map[string]string
	holding    []string
	prefix     string
	try        bool
}

// validFields are the fields of a valid request.
func validFields() fields { return fields{key: "k", keys: []string{"k"}, owner: "o", ttl: second} }

// send makes the named calls and returns their errors by name.
func (f fields) send(ctx context.Context, s *Service, names ...string) map[string]error {
	errs := map[string]error{}
	for _, name := range names {
		var err error
		switch name {
		case "TryLock":
			_, err = s.TryLock(ctx, &lockspb.TryLockRequest{Key: f.key, Owner: f.owner, Ttl: f.ttl, Metadata: f.metadata})
		case "Lock":
			_, err = s.Lock(ctx, &lockspb.LockRequest{
				Key: f.key, Owner: f.owner, Ttl: f.ttl, Wait: f.wait, Metadata: f.metadata, Holding: f.holding,
			})
		case "LockAll":
			_, err = s.LockAll(ctx, &lockspb.LockAllRequest{
				Keys: f.keys, Owner: f.owner, Ttl: f.ttl, Wait: f.wait, Metadata: f.metadata, Holding: f.holding, Try: f.try,
			})
		case "Renew":
			_, err = s.Renew(ctx, &lockspb.RenewRequest{Key: f.key, Owner: f.owner, Ttl: f.ttl})
		case "Unlock":
			_, err = s.Unlock(ctx, &lockspb.UnlockRequest{Key: f.key, Owner: f.owner})
		case "Revoke":
			_, err = s.Revoke(ctx, &lockspb.RevokeRequest{Key: f.key, Owner: f.owner})
		case "List":
			err = s.List(&lockspb.ListRequest{Prefix: f.prefix}, &fakeStream[lockspb.ListResponse]{ctx: ctx})
		case "Watch":
			err = s.Watch(&lockspb.WatchRequest{Prefix: f.prefix}, &fakeStream[lockspb.WatchResponse]{ctx: ctx})
		}
		errs[name] = err
	}
	return errs
}

func TestCalls_InvalidFields(t *testing.T) {
	many := make([]string, stores.MaxHolding+1)
	for i := range many {
		many[i] = strconv.Itoa(i)
	}
	var (
		withTTL   = []string{"TryLock", "Lock", "LockAll", "Renew"}
		withKey   = []string{"TryLock", "Lock", "Renew", "Unlock", "Revoke"}
		withOwner = []string{"TryLock", "Lock", "LockAll", "Renew", "Unlock"}
		waiting   = []string{"Lock", "LockAll"}
		taking    = []string{"TryLock", "Lock", "LockAll"}
	)
	for _, row := range []struct {
		name  string
		spoil func(*fields)
		field string
		calls []string
	}{
		{"empty key", func(f *fields) { f.key = "" }, "key", withKey},
		{"oversized key", func(f *fields) { f.key = oversized }, "key", withKey},
		{"reserved key", func(f *fields) { f.key = "mortise:token" }, "key", withKey},
		{"empty owner", func(f *fields) { f.owner = "" }, "owner", withOwner},
		{"oversized owner", func(f *fields) { f.owner = oversized }, "owner", append(withOwner, "Revoke")},
		{"no keys", func(f *fields) { f.keys = nil }, "keys", []string{"LockAll"}},
		{"too many keys", func(f *fields) { f.keys = many }, "keys", []string{"LockAll"}},
		{"a key twice", func(f *fields) { f.keys = []string{"k", "k"} }, "keys", []string{"LockAll"}},
		{"an empty key among others", func(f *fields) { f.keys = []string{"k", ""} }, "keys", []string{"LockAll"}},
		{"a reserved key among others", func(f *fields) { f.keys = []string{"k", "mortise:token"} }, "keys", []string{"LockAll"}},
		{"no ttl", func(f *fields) { f.ttl = nil }, "ttl", withTTL},
		{"zero ttl", func(f *fields) { f.ttl = &durationpb.Duration{} }, "ttl", withTTL},
		{"negative ttl", func(f *fields) { f.ttl = durationpb.New(-time.Second) }, "ttl", withTTL},
		{"ttl below a millisecond", func(f *fields) { f.ttl = durationpb.New(time.Millisecond - 1) }, "ttl", withTTL},
		{"ttl beyond the bound", func(f *fields) { f.ttl = durationpb.New(stores.MaxTTL + 1) }, "ttl", withTTL},
		{"ttl that overflows", func(f *fields) { f.ttl = &durationpb.Duration{Seconds: 315576000000} }, "ttl", withTTL},
		{"ttl that would be a second if it wrapped", func(f *fields) { f.ttl = &durationpb.Duration{Seconds: 18446744074} }, "ttl", withTTL},
		{"ttl with too many nanoseconds", func(f *fields) { f.ttl = &durationpb.Duration{Seconds: 1, Nanos: 2e9} }, "ttl", withTTL},
		{"ttl with two signs", func(f *fields) { f.ttl = &durationpb.Duration{Seconds: 1, Nanos: -1} }, "ttl", withTTL},
		{"negative wait", func(f *fields) { f.wait = durationpb.New(-1) }, "wait", waiting},
		{"wait that overflows", func(f *fields) { f.wait = &durationpb.Duration{Seconds: 315576000000} }, "wait", waiting},
		{"wait that overflows downwards", func(f *fields) { f.wait = &durationpb.Duration{Seconds: math.MinInt64} }, "wait", waiting},
		{"wait with too many nanoseconds", func(f *fields) { f.wait = &durationpb.Duration{Nanos: math.MaxInt32} }, "wait", waiting},
		{"wait together with try", func(f *fields) { f.wait, f.try = second, true }, "wait", []string{"LockAll"}},
		{"too much metadata", func(f *fields) { f.metadata = map[string]string{"k": strings.Repeat("v", stores.MaxMetadata)} }, "metadata", taking},
		{"metadata that is invalid UTF-8", func(f *fields) { f.metadata = map[string]string{"k": "\xff"} }, "metadata", taking},
		{"too much in holding", func(f *fields) { f.holding = many }, "holding", waiting},
		{"an empty owner in holding", func(f *fields) { f.holding = []string{""} }, "holding", waiting},
		{"oversized prefix", func(f *fields) { f.prefix = oversized }, "prefix", []string{"List", "Watch"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			store := &scripted{}
			s, _ := serve(t, store)
			f := validFields()
			row.spoil(&f)
			for name, err := range f.send(t.Context(), s, row.calls...) {
				checkField(t, name, err, row.field)
			}
			if store.received != nil {
				t.Errorf("the store received %+v", store.received)
			}
		})
	}
}

func TestCalls_FieldsAtTheirLimits(t *testing.T) {
	for _, row := range []struct {
		name string
		set  func(*fields)
	}{
		{"the shortest ttl", func(f *fields) { f.ttl = durationpb.New(stores.MinTTL) }},
		{"the longest ttl", func(f *fields) { f.ttl = durationpb.New(stores.MaxTTL) }},
		{"no wait", func(f *fields) { f.wait = &durationpb.Duration{} }},
		{"zero wait together with try", func(f *fields) { f.wait, f.try = &durationpb.Duration{}, true }},
		{"the longest wait", func(f *fields) { f.wait = durationpb.New(math.MaxInt64 - 1) }},
		{"the longest key", func(f *fields) { f.key = oversized[1:]; f.keys = []string{f.key} }},
		{"a reserved prefix", func(f *fields) { f.prefix = "mortise:" }},
		{"the longest prefix", func(f *fields) { f.prefix = oversized[1:] }},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, _ := serve(t, &scripted{grant: stores.Grant{Acquired: true}})
			f := validFields()
			row.set(&f)
			for name, err := range f.send(t.Context(), s, "TryLock", "Lock", "LockAll", "Renew", "Unlock", "Revoke", "List") {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

func checkField(t *testing.T, call string, err error, field string) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != codes.InvalidArgument || !strings.HasPrefix(s.Message(), field+" ") || len(s.Details()) != 1 {
		t.Errorf("%s: %v", call, s)
		return
	}
	bad, ok := s.Details()[0].(*errdetails.BadRequest)
	if !ok || bad.GetFieldViolations()[0].GetField() != field {
		t.Errorf("%s: details %v", call, s.Details())
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

// FuzzLock calls Lock with any key, owner and durations: valid ones reach the store
// unchanged, others are rejected with the name of the field.
func FuzzLock(f *testing.F) {
	f.Add("k", "o", int64(1), int32(0), int64(0), int32(0))
	f.Add("", "", int64(-1), int32(-1), int64(315576000000), int32(999999999))
	f.Add("mortise:", "mortise:", int64(1), int32(0), int64(0), int32(0))
	f.Add(oversized, "\x00", int64(1<<31), int32(1), int64(18446744074), int32(-1))
	f.Add("k", "o", int64(math.MaxInt64), int32(math.MinInt32), int64(math.MinInt64), int32(math.MaxInt32))
	f.Fuzz(func(t *testing.T, key, owner string, ttlSeconds int64, ttlNanos int32, waitSeconds int64, waitNanos int32) {
		store := &scripted{grant: stores.Grant{Acquired: true}}
		s, _ := serve(t, store)
		_, err := s.Lock(t.Context(), &lockspb.LockRequest{
			Key: key, Owner: owner,
			Ttl:  &durationpb.Duration{Seconds: ttlSeconds, Nanos: ttlNanos},
			Wait: &durationpb.Duration{Seconds: waitSeconds, Nanos: waitNanos},
		})
		within := func(name string) bool { return len(name) > 0 && len(name) <= 1024 }
		regular := func(seconds int64, nanos int32) bool { return nanos >= 0 && nanos < 1e9 && seconds >= 0 }
		ttl := time.Duration(ttlSeconds)*time.Second + time.Duration(ttlNanos)
		good := within(key) && !strings.HasPrefix(key, "mortise:") && within(owner) &&
			regular(ttlSeconds, ttlNanos) && ttlSeconds <= math.MaxInt32 && ttl >= stores.MinTTL && ttl <= stores.MaxTTL &&
			regular(waitSeconds, waitNanos) && waitSeconds < math.MaxInt64/int64(time.Second)
		req, reached := store.received.(stores.Request)
		switch {
		case good && (err != nil || req.Key != key || req.Owner != owner || req.TTL != ttl):
			t.Errorf("%v, received %+v", err, store.received)
		case good:
			deadline, bounded := store.ctx.Deadline()
			if wait := time.Duration(waitSeconds)*time.Second + time.Duration(waitNanos); bounded != (wait > 0) || bounded && time.Until(deadline) > wait {
				t.Errorf("wait of %v became a deadline in %v, %v", wait, time.Until(deadline), bounded)
			}
		case waitSeconds != math.MaxInt64/int64(time.Second) && (reached || status.Code(err) != codes.InvalidArgument):
			t.Errorf("accepted, or refused as %v", err)
		}
	})
}
