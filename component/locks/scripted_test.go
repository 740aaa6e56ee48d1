package locks

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mortise-lock/mortise/component/instances"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores"
)

// scripted is a store with every ability. It returns what its fields say, and records the
// requests that it receives.
type scripted struct {
	stores.Store
	grant  stores.Grant
	err    error
	locks  []stores.LockInfo
	events []stores.Event

	// before runs in each call that may acquire a lock; it may be nil.
	before   func(ctx context.Context)
	received any
	ctx      context.Context // of the last call that may acquire a lock
	unlocked []string        // keys that were unlocked before their ctx ended
}

func (s *scripted) record(ctx context.Context, received any) (stores.Grant, error) {
	s.received, s.ctx = received, ctx
	if s.before != nil {
		s.before(ctx)
	}
	return s.grant, s.err
}

func (s *scripted) TryLock(ctx context.Context, r stores.Request) (stores.Grant, error) {
	return s.record(ctx, r)
}
func (s *scripted) Lock(ctx context.Context, r stores.Request) (stores.Grant, error) {
	return s.record(ctx, r)
}
func (s *scripted) LockAll(ctx context.Context, r stores.MultiRequest) (stores.Grant, error) {
	return s.record(ctx, r)
}
func (s *scripted) Renew(ctx context.Context, r stores.Request) (stores.Grant, error) {
	return s.record(ctx, r)
}
func (s *scripted) Unlock(ctx context.Context, key, owner string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.received, s.unlocked = [2]string{key, owner}, append(s.unlocked, key)
	return s.err
}
func (s *scripted) Revoke(_ context.Context, key, owner string) error {
	s.received = [2]string{key, owner}
	return s.err
}
func (s *scripted) List(_ context.Context, prefix string) ([]stores.LockInfo, error) {
	s.received = prefix
	return s.locks, s.err
}
func (s *scripted) Watch(ctx context.Context, prefix string, send func(stores.Event) error) error {
	s.received = prefix
	for _, e := range s.events {
		if err := send(e); err != nil {
			return err
		}
	}
	if s.err == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.err
}
func (s *scripted) Close() error { return nil }

// plainStore is a store without abilities.
type plainStore struct{ s *scripted }

func (p plainStore) TryLock(ctx context.Context, r stores.Request) (stores.Grant, error) {
	return p.s.TryLock(ctx, r)
}
func (p plainStore) Unlock(ctx context.Context, key, owner string) error {
	return p.s.Unlock(ctx, key, owner)
}
func (p plainStore) Close() error { return nil }

// serve returns a service whose component "c" has the store.
func serve(t testing.TB, store stores.Store) (*Service, *instances.Set) {
	t.Helper()
	r := stores.NewRegistry("scripted")
	r.Register("scripted", stores.Backend{Config: struct{}{}, Open: func(context.Context, stores.Component) (stores.Store, error) {
		return store, nil
	}})
	set := instances.New(r, logger.NewLogger("test"))
	if err := set.Open(t.Context(), "c", nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set.Close() })
	return New(set.Resolver()), set
}

var second = durationpb.New(time.Second)

// oversized is one byte longer than the longest key and owner.
var oversized = strings.Repeat("x", stores.MaxKeyLen+1)

// calls are all calls of the service, each with a valid request for the component.
func calls(t *testing.T, s *Service, store string) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"TryLock": func(ctx context.Context) error {
			_, err := s.TryLock(ctx, &lockspb.TryLockRequest{Store: store, Key: "k", Owner: "o", Ttl: second})
			return err
		},
		"Lock": func(ctx context.Context) error {
			_, err := s.Lock(ctx, &lockspb.LockRequest{Store: store, Key: "k", Owner: "o", Ttl: second})
			return err
		},
		"LockAll": func(ctx context.Context) error {
			_, err := s.LockAll(ctx, &lockspb.LockAllRequest{Store: store, Keys: []string{"k"}, Owner: "o", Ttl: second})
			return err
		},
		"LockAll with try": func(ctx context.Context) error {
			_, err := s.LockAll(ctx, &lockspb.LockAllRequest{Store: store, Keys: []string{"k"}, Owner: "o", Ttl: second, Try: true})
			return err
		},
		"Renew": func(ctx context.Context) error {
			_, err := s.Renew(ctx, &lockspb.RenewRequest{Store: store, Key: "k", Owner: "o", Ttl: second})
			return err
		},
		"Unlock": func(ctx context.Context) error {
			_, err := s.Unlock(ctx, &lockspb.UnlockRequest{Store: store, Key: "k", Owner: "o"})
			return err
		},
		"Revoke": func(ctx context.Context) error {
			_, err := s.Revoke(ctx, &lockspb.RevokeRequest{Store: store, Key: "k", Owner: "o"})
			return err
		},
		"List": func(ctx context.Context) error {
			return s.List(&lockspb.ListRequest{Store: store}, &fakeStream[lockspb.ListResponse]{ctx: ctx})
		},
		"Watch": func(ctx context.Context) error {
			return s.Watch(&lockspb.WatchRequest{Store: store}, &fakeStream[lockspb.WatchResponse]{ctx: ctx})
		},
	}
}
