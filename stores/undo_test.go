package stores_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/mortise-lock/mortise/stores"
)

// scriptedStore answers every request for locks with grant and err. It records the locks
// that were unlocked with a ctx that had not ended.
type scriptedStore struct {
	stores.Store
	grant    stores.Grant
	err      error
	unlocked []string
}

func (s *scriptedStore) TryLock(context.Context, stores.Request) (stores.Grant, error) {
	return s.grant, s.err
}

func (s *scriptedStore) Lock(context.Context, stores.Request) (stores.Grant, error) {
	return s.grant, s.err
}

func (s *scriptedStore) LockAll(context.Context, stores.MultiRequest) (stores.Grant, error) {
	return s.grant, s.err
}

func (s *scriptedStore) Unlock(ctx context.Context, key, owner string) error {
	if ctx.Err() == nil {
		s.unlocked = append(s.unlocked, key+" of "+owner)
	}
	return stores.ErrNotHeld
}

// lockHelpers are the helpers that take locks, each with the locks that it takes.
var lockHelpers = []struct {
	name  string
	call  func(context.Context, stores.Store) (stores.Grant, error)
	locks []string
}{
	{"TryLock", func(ctx context.Context, s stores.Store) (stores.Grant, error) {
		return stores.TryLock(ctx, s, stores.Request{Key: "a", Owner: "ann"})
	}, []string{"a of ann"}},
	{"Lock", func(ctx context.Context, s stores.Store) (stores.Grant, error) {
		return stores.Lock(ctx, s, stores.Request{Key: "a", Owner: "ann"})
	}, []string{"a of ann"}},
	{"LockAll", func(ctx context.Context, s stores.Store) (stores.Grant, error) {
		return stores.LockAll(ctx, s, stores.MultiRequest{Keys: []string{"a", "b"}, Owner: "ann", Wait: true})
	}, []string{"a of ann", "b of ann"}},
}

func TestLock_CanceledCaller(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	waited, end := context.WithCancel(stores.WithCaller(t.Context()))
	end()
	waitedAndCanceled, end := context.WithCancel(stores.WithCaller(canceled))
	end()
	granted := stores.Grant{Acquired: true, Token: 7}
	unreachable := errors.New("storage is unreachable")
	for _, row := range []struct {
		name    string
		ctx     context.Context
		grant   stores.Grant
		err     error
		want    stores.Grant
		wantErr error
		undone  bool
	}{
		{"a caller that is present keeps the grant", t.Context(), granted, nil, granted, nil, false},
		{"the grant of a canceled caller is undone", canceled, granted, nil, stores.Grant{}, context.Canceled, true},
		{"a caller whose wait has ended keeps the grant", waited, granted, nil, granted, nil, false},
		{"the grant is undone if the wait ended and the caller was canceled", waitedAndCanceled, granted, nil, stores.Grant{}, context.Canceled, true},
		{"a refusal stays a refusal", canceled, stores.Grant{}, nil, stores.Grant{}, nil, false},
		{"an error stays the same error", canceled, stores.Grant{}, unreachable, stores.Grant{}, unreachable, false},
	} {
		for _, helper := range lockHelpers {
			t.Run(helper.name+": "+row.name, func(t *testing.T) {
				s := &scriptedStore{grant: row.grant, err: row.err}
				got, err := helper.call(row.ctx, s)
				var want []string
				if row.undone {
					want = helper.locks
				}
				if got != row.want || !errors.Is(err, row.wantErr) || !slices.Equal(s.unlocked, want) {
					t.Errorf("returned %+v, %v and unlocked %q, want %+v, %v, %q",
						got, err, s.unlocked, row.want, row.wantErr, want)
				}
			})
		}
	}
}

// undoObserver records the operations and their outcomes.
type undoObserver struct{ calls []string }

func (o *undoObserver) Begin(ctx context.Context, op stores.Operation) (context.Context, func(stores.Outcome)) {
	return ctx, func(outcome stores.Outcome) { o.calls = append(o.calls, string(op)+" "+string(outcome)) }
}

func TestLock_CanceledCallerOfAnObservedStore(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, helper := range lockHelpers {
		t.Run(helper.name, func(t *testing.T) {
			inner := &scriptedStore{grant: stores.Grant{Acquired: true}}
			observer := &undoObserver{}
			_, err := helper.call(canceled, stores.Observe(inner, observer))
			if !errors.Is(err, context.Canceled) || !slices.Equal(inner.unlocked, helper.locks) {
				t.Errorf("failed with %v and unlocked %q, want %q", err, inner.unlocked, helper.locks)
			}
			if len(observer.calls) != 1+len(helper.locks) || observer.calls[1] != "unlock not_held" {
				t.Errorf("observed were %q, want a grant and each unlock", observer.calls)
			}
		})
	}
}
