package locks

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mortise-lock/mortise/component/instances"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores"
)

func TestCalls_StoreErrors(t *testing.T) {
	for _, row := range []struct {
		err    error
		code   codes.Code
		reason string
	}{
		{fmt.Errorf("x: %w", stores.ErrNotHeld), codes.FailedPrecondition, "NOT_HELD"},
		{fmt.Errorf("x: %w", stores.ErrNotOwner), codes.FailedPrecondition, "NOT_OWNER"},
		{fmt.Errorf("x: %w", stores.ErrDeadlock), codes.FailedPrecondition, "DEADLOCK"},
		{fmt.Errorf("x: %w", stores.ErrUnsupported), codes.Unimplemented, "UNSUPPORTED"},
		{fmt.Errorf("x: %w", stores.ErrClosed), codes.Unavailable, "SHUTTING_DOWN"},
		{fmt.Errorf("x: %w", context.Canceled), codes.Canceled, "CANCELLED"},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "TIMEOUT"},
		{errors.New("connection refused"), codes.Unavailable, "STORE_ERROR"},
	} {
		s, _ := serve(t, &scripted{err: row.err})
		for name, call := range calls(t, s, "c") {
			got := status.Convert(call(t.Context()))
			if got.Code() != row.code || got.Message() != row.err.Error() || reason(got) != row.reason {
				t.Errorf("%s, %v: %v with %v", name, row.err, got, got.Details())
			}
		}
	}
}

func TestCalls_UnsupportedByStore(t *testing.T) {
	s, _ := serve(t, plainStore{&scripted{grant: stores.Grant{Acquired: true}}})
	for name, call := range calls(t, s, "c") {
		got := status.Convert(call(t.Context()))
		able := name == "TryLock" || name == "Unlock"
		if able != (got.Code() == codes.OK) || !able && (got.Code() != codes.Unimplemented || reason(got) != "UNSUPPORTED") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestCalls_ComponentName(t *testing.T) {
	const reached, missed = "NOT_HELD", "NOT_INITIALIZED"
	for _, row := range []struct{ name, store, header, want string }{
		{"in the message", "c", "", reached},
		{"in the header", "", "c", reached},
		{"in both, and differently", "c", "d", reached},
		{"nowhere, and one is open", "", "", reached},
		{"wrongly", "d", "c", missed},
		{"wrongly in the header", "", "d", missed},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, _ := serve(t, &scripted{err: stores.ErrNotHeld})
			ctx := t.Context()
			if row.header != "" {
				ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(instances.Header, row.header))
			}
			for name, call := range calls(t, s, row.store) {
				if got := status.Convert(call(ctx)); reason(got) != row.want {
					t.Errorf("%s: %v", name, got)
				}
			}
		})
	}
}

func TestCalls_AmbiguousComponent(t *testing.T) {
	s, set := serve(t, &scripted{})
	if err := set.Open(t.Context(), "d", nil); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls(t, s, "") {
		if got := status.Convert(call(t.Context())); got.Code() != codes.FailedPrecondition || reason(got) != "AMBIGUOUS" {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestCalls_StoreRequests(t *testing.T) {
	md, holding := map[string]string{"host": "a"}, []string{"h"}
	one := stores.Request{Key: "k", Owner: "o", TTL: time.Second}
	full := one
	full.Metadata = md
	waits := full
	waits.Holding = holding
	all := stores.MultiRequest{Keys: []string{"k", "l"}, Owner: "o", TTL: time.Second, Metadata: md, Holding: holding, Wait: true}
	try := all
	try.Wait = false
	for _, row := range []struct {
		name string
		call func(ctx context.Context, s *Service) error
		want any
	}{
		{"TryLock", func(ctx context.Context, s *Service) error {
			_, err := s.TryLock(ctx, &lockspb.TryLockRequest{Key: "k", Owner: "o", Ttl: second, Metadata: md})
			return err
		}, full},
		{"Lock", func(ctx context.Context, s *Service) error {
			_, err := s.Lock(ctx, &lockspb.LockRequest{Key: "k", Owner: "o", Ttl: second, Metadata: md, Holding: holding})
			return err
		}, waits},
		{"LockAll", func(ctx context.Context, s *Service) error {
			_, err := s.LockAll(ctx, &lockspb.LockAllRequest{Keys: all.Keys, Owner: "o", Ttl: second, Metadata: md, Holding: holding})
			return err
		}, all},
		{"LockAll with try", func(ctx context.Context, s *Service) error {
			_, err := s.LockAll(ctx, &lockspb.LockAllRequest{Keys: all.Keys, Owner: "o", Ttl: second, Metadata: md, Holding: holding, Try: true})
			return err
		}, try},
		{"Renew", func(ctx context.Context, s *Service) error {
			_, err := s.Renew(ctx, &lockspb.RenewRequest{Key: "k", Owner: "o", Ttl: second})
			return err
		}, one},
		{"Unlock", func(ctx context.Context, s *Service) error {
			_, err := s.Unlock(ctx, &lockspb.UnlockRequest{Key: "k", Owner: "o"})
			return err
		}, [2]string{"k", "o"}},
		{"Revoke", func(ctx context.Context, s *Service) error {
			_, err := s.Revoke(ctx, &lockspb.RevokeRequest{Key: "k", Owner: "o"})
			return err
		}, [2]string{"k", "o"}},
		{"Revoke from any owner", func(ctx context.Context, s *Service) error {
			_, err := s.Revoke(ctx, &lockspb.RevokeRequest{Key: "k"})
			return err
		}, [2]string{"k", ""}},
		{"List", func(ctx context.Context, s *Service) error {
			return s.List(&lockspb.ListRequest{Prefix: "p"}, &fakeStream[lockspb.ListResponse]{ctx: ctx})
		}, "p"},
	} {
		t.Run(row.name, func(t *testing.T) {
			store := &scripted{}
			s, _ := serve(t, store)
			if err := row.call(t.Context(), s); err != nil || !reflect.DeepEqual(store.received, row.want) {
				t.Errorf("%v, received %+v", err, store.received)
			}
		})
	}
}

func TestResponse_ExpiresIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scripted{grant: stores.Grant{Acquired: true, Token: 7, Expires: time.Now().Add(time.Minute)}}
		store.before = func(context.Context) { time.Sleep(time.Second) }
		s, _ := serve(t, store)
		for _, want := range []time.Duration{59 * time.Second, 58 * time.Second} {
			resp, err := s.Lock(t.Context(), &lockspb.LockRequest{Key: "k", Owner: "o", Ttl: second})
			if err != nil || !resp.GetAcquired() || resp.GetToken() != 7 || resp.GetExpiresIn().AsDuration() != want {
				t.Errorf("%v, %v, want %v", resp, err, want)
			}
		}
		time.Sleep(time.Hour)
		resp, err := s.TryLock(t.Context(), &lockspb.TryLockRequest{Key: "k", Owner: "o", Ttl: second})
		if err != nil || !resp.GetAcquired() || resp.GetExpiresIn().AsDuration() != 0 {
			t.Errorf("after the end: %v, %v", resp, err)
		}
	})
}

func TestTryLock_Refused(t *testing.T) {
	s, _ := serve(t, &scripted{})
	resp, err := s.TryLock(t.Context(), &lockspb.TryLockRequest{Key: "k", Owner: "o", Ttl: second})
	if err != nil || resp.GetAcquired() || resp.GetToken() != 0 || resp.GetExpiresIn() != nil {
		t.Errorf("%v, %v", resp, err)
	}
}

// waitingCalls are the calls that wait, with their wait time.
var waitingCalls = map[string]func(ctx context.Context, s *Service, wait time.Duration) (*lockspb.LockResponse, error){
	"Lock": func(ctx context.Context, s *Service, wait time.Duration) (*lockspb.LockResponse, error) {
		return s.Lock(ctx, &lockspb.LockRequest{Key: "k", Owner: "o", Ttl: second, Wait: durationpb.New(wait)})
	},
	"LockAll": func(ctx context.Context, s *Service, wait time.Duration) (*lockspb.LockResponse, error) {
		return s.LockAll(ctx, &lockspb.LockAllRequest{Keys: []string{"k", "l"}, Owner: "o", Ttl: second, Wait: durationpb.New(wait)})
	},
}

func TestLock_WaitTime(t *testing.T) {
	for _, row := range []struct {
		name           string
		wait, deadline time.Duration // zero: none
		after          time.Duration
		code           codes.Code // OK: acquired is false
	}{
		{"the wait time", time.Minute, 0, time.Minute, codes.OK},
		{"the wait time, before the deadline", time.Minute, time.Hour, time.Minute, codes.OK},
		{"until an earlier deadline", time.Hour, time.Minute, time.Minute, codes.DeadlineExceeded},
		{"until the deadline without a wait time", 0, time.Minute, time.Minute, codes.DeadlineExceeded},
		{"a nanosecond", 1, 0, 1, codes.OK},
	} {
		for name, call := range waitingCalls {
			t.Run(name+" waits "+row.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := &scripted{}
					store.before = func(ctx context.Context) {
						<-ctx.Done()
						store.err = fmt.Errorf("scripted: %w", ctx.Err())
					}
					s, _ := serve(t, store)
					ctx := t.Context()
					if row.deadline > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, row.deadline)
						defer cancel()
					}
					start := time.Now()
					resp, err := call(ctx, s, row.wait)
					if time.Since(start) != row.after || status.Code(err) != row.code || resp.GetAcquired() {
						t.Errorf("after %v: %v, %v", time.Since(start), resp, err)
					}
				})
			})
		}
	}
}

func TestLock_StoreErrorAfterWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scripted{err: errors.New("connection refused")}
		store.before = func(ctx context.Context) { <-ctx.Done() }
		s, _ := serve(t, store)
		for name, call := range waitingCalls {
			if _, err := call(t.Context(), s, time.Second); status.Code(err) != codes.Unavailable {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestCalls_CanceledCallerReleasesGrant(t *testing.T) {
	for _, row := range []struct {
		name string
		call string
		want []string
	}{
		{"by TryLock", "TryLock", []string{"k"}},
		{"by Lock", "Lock", []string{"k"}},
		{"of all keys by LockAll", "LockAll", []string{"k"}},
		{"of all keys by LockAll with try", "LockAll with try", []string{"k"}},
		{"not by Renew", "Renew", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			store := &scripted{grant: stores.Grant{Acquired: true, Token: 1, Expires: time.Now().Add(time.Hour)}}
			store.before = func(context.Context) { cancel() }
			s, _ := serve(t, store)
			err := calls(t, s, "c")[row.call](ctx)
			if !slices.Equal(store.unlocked, row.want) || row.want != nil && status.Code(err) != codes.Canceled {
				t.Errorf("unlocked %v, %v", store.unlocked, err)
			}
		})
	}
	t.Run("of each of several keys", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		store := &scripted{grant: stores.Grant{Acquired: true}, before: func(context.Context) { cancel() }}
		s, _ := serve(t, store)
		resp, err := waitingCalls["LockAll"](ctx, s, time.Hour)
		if !slices.Equal(store.unlocked, []string{"k", "l"}) || status.Code(err) != codes.Canceled || resp.GetAcquired() {
			t.Errorf("unlocked %v, %v, %v", store.unlocked, resp, err)
		}
	})
}

func TestLock_GrantAtTheEndOfTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scripted{grant: stores.Grant{Acquired: true}, before: func(ctx context.Context) { <-ctx.Done() }}
		s, _ := serve(t, store)
		if resp, err := waitingCalls["Lock"](t.Context(), s, time.Second); err != nil || !resp.GetAcquired() || store.unlocked != nil {
			t.Errorf("%v, %v, unlocked %v", resp, err, store.unlocked)
		}
	})
}

func TestWaitingCalls_EndWaiting(t *testing.T) {
	for _, name := range []string{"Lock", "LockAll", "Watch"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &scripted{}
				store.before = func(ctx context.Context) {
					<-ctx.Done()
					store.err = fmt.Errorf("scripted: %w", ctx.Err())
				}
				s, set := serve(t, store)
				ended := make(chan error, 1)
				go func() { ended <- calls(t, s, "c")[name](t.Context()) }()
				synctest.Wait()
				set.EndWaiting()
				got := status.Convert(<-ended)
				if got.Code() != codes.Unavailable || reason(got) != "SHUTTING_DOWN" {
					t.Errorf("%v", got)
				}
			})
		})
	}
}

func TestOtherCalls_EndWaiting(t *testing.T) {
	s, set := serve(t, &scripted{})
	set.EndWaiting()
	for _, name := range []string{"TryLock", "LockAll with try", "Renew", "Unlock", "Revoke", "List"} {
		if err := calls(t, s, "c")[name](t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
