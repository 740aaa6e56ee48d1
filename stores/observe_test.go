package stores

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// recordingObserver records the calls that it is notified of, and marks their ctx.
type recordingObserver struct{ calls []string }

type markKey struct{}

func (r *recordingObserver) Begin(ctx context.Context, o Operation) (context.Context, func(Outcome)) {
	r.calls = append(r.calls, "begin "+string(o))
	return context.WithValue(ctx, markKey{}, o), func(outcome Outcome) {
		r.calls = append(r.calls, string(o)+" "+string(outcome))
	}
}

// scriptedStore is a store with all abilities that returns grant and err. It fails the
// test if the ctx of a call is not marked with the operation.
type scriptedStore struct {
	t     *testing.T
	grant Grant
	err   error
}

var (
	someLocks = []LockInfo{{Key: "a"}, {Key: "b"}}
	someGrant = Grant{Acquired: true, Token: 7}
)

func (m *scriptedStore) called(ctx context.Context, op Operation) error {
	if got := ctx.Value(markKey{}); got != op {
		m.t.Errorf("%s was called with the ctx of %v", op, got)
	}
	return m.err
}

func (m *scriptedStore) TryLock(ctx context.Context, _ Request) (Grant, error) {
	return m.grant, m.called(ctx, OpTryLock)
}

func (m *scriptedStore) Lock(ctx context.Context, _ Request) (Grant, error) {
	return m.grant, m.called(ctx, OpLock)
}

func (m *scriptedStore) LockAll(ctx context.Context, req MultiRequest) (Grant, error) {
	if req.Wait {
		return m.grant, m.called(ctx, OpLockAll)
	}
	return m.grant, m.called(ctx, OpTryLockAll)
}

func (m *scriptedStore) Renew(ctx context.Context, _ Request) (Grant, error) {
	return m.grant, m.called(ctx, OpRenew)
}

func (m *scriptedStore) List(ctx context.Context, _ string) ([]LockInfo, error) {
	return someLocks, m.called(ctx, OpList)
}

func (m *scriptedStore) Get(ctx context.Context, key string) (LockInfo, error) {
	return LockInfo{Key: key}, m.called(ctx, OpList)
}

func (m *scriptedStore) Group(ctx context.Context, _ string) ([]LockInfo, error) {
	return someLocks, m.called(ctx, OpGroup)
}

func (m *scriptedStore) Watch(ctx context.Context, _ string, handle func(Event) error) error {
	if err := handle(Event{Kind: EventSnapshot}); err != nil {
		return err
	}
	return m.called(ctx, OpWatch)
}

func (m *scriptedStore) Unlock(ctx context.Context, _, _ string) error {
	return m.called(ctx, OpUnlock)
}
func (m *scriptedStore) Revoke(ctx context.Context, _, _ string) error {
	return m.called(ctx, OpRevoke)
}
func (m *scriptedStore) Declare(ctx context.Context, _ Declaration) error {
	return m.called(ctx, OpDeclare)
}
func (m *scriptedStore) Withdraw(ctx context.Context, _, _ string) error {
	return m.called(ctx, OpWithdraw)
}
func (m *scriptedStore) Ping(ctx context.Context) error { return m.called(ctx, OpPing) }
func (m *scriptedStore) Close() error                   { return m.err }

// operations are the calls of a store by operation. Each returns the result and the
// error.
var operations = map[Operation]func(ctx context.Context, s Store) (any, error){
	OpTryLock: func(ctx context.Context, s Store) (any, error) { return TryLock(ctx, s, Request{}) },
	OpLock:    func(ctx context.Context, s Store) (any, error) { return Lock(ctx, s, Request{}) },
	OpTryLockAll: func(ctx context.Context, s Store) (any, error) {
		return LockAll(ctx, s, MultiRequest{})
	},
	OpLockAll: func(ctx context.Context, s Store) (any, error) {
		return LockAll(ctx, s, MultiRequest{Wait: true})
	},
	OpRenew:  func(ctx context.Context, s Store) (any, error) { return Renew(ctx, s, Request{}) },
	OpUnlock: func(ctx context.Context, s Store) (any, error) { return nil, Unlock(ctx, s, "", "") },
	OpRevoke: func(ctx context.Context, s Store) (any, error) { return nil, Revoke(ctx, s, "", "") },
	OpList:   func(ctx context.Context, s Store) (any, error) { return List(ctx, s, "") },
	OpGroup:  func(ctx context.Context, s Store) (any, error) { return Group(ctx, s, "") },
	OpWatch: func(ctx context.Context, s Store) (any, error) {
		var kind any
		err := Watch(ctx, s, "", func(e Event) error { kind = e.Kind; return nil })
		return kind, err
	},
	OpDeclare:  func(ctx context.Context, s Store) (any, error) { return nil, Declare(ctx, s, Declaration{}) },
	OpWithdraw: func(ctx context.Context, s Store) (any, error) { return nil, Withdraw(ctx, s, "", "") },
	OpPing:     func(ctx context.Context, s Store) (any, error) { return nil, Ping(ctx, s) },
}

// acquiresLocks reports whether the operation acquires locks.
func acquiresLocks(op Operation) bool {
	return slices.Contains([]Operation{OpTryLock, OpTryLockAll, OpLock, OpLockAll}, op)
}

func TestObserve_EachCall(t *testing.T) {
	for op, call := range operations {
		for _, err := range []error{nil, ErrNotHeld, errCalled} {
			t.Run(fmt.Sprint(op, " ", err), func(t *testing.T) {
				inner, observer := &scriptedStore{t, someGrant, err}, &recordingObserver{}
				result, got := call(t.Context(), Observe(inner, observer))
				want, _ := call(context.WithValue(t.Context(), markKey{}, op), inner)
				if !sameError(got, err) || fmt.Sprint(result) != fmt.Sprint(want) {
					t.Errorf("returned %v, %v, want %v, %v", result, got, want, err)
				}
				outcome := OutcomeOf(err)
				if err == nil && acquiresLocks(op) {
					outcome = OutcomeGranted
				}
				if want := []string{"begin " + string(op), string(op) + " " + string(outcome)}; !slices.Equal(observer.calls, want) {
					t.Errorf("calls are %q, want %q", observer.calls, want)
				}
			})
		}
	}
}

func TestObserve_Refused(t *testing.T) {
	for op, call := range operations {
		if !acquiresLocks(op) {
			continue
		}
		observer := &recordingObserver{}
		if _, err := call(t.Context(), Observe(&scriptedStore{t: t}, observer)); err != nil || observer.calls[1] != string(op)+" refused" {
			t.Errorf("%v, calls are %q", err, observer.calls)
		}
	}
}

func TestObserve_WatchEndedByHandler(t *testing.T) {
	observer := &recordingObserver{}
	err := Watch(t.Context(), Observe(&scriptedStore{t: t}, observer), "", func(Event) error { return errCalled })
	if !sameError(err, errCalled) || observer.calls[1] != "watch ok" {
		t.Errorf("%v, calls are %q", err, observer.calls)
	}
}

func TestObserve_KeepsAbilities(t *testing.T) {
	for _, s := range []Store{minimalStore{}, fullStore{}, struct {
		Store
		Pinger
	}{}} {
		twice := Observe(Observe(s, &recordingObserver{}), &recordingObserver{})
		if got, want := Features(twice), Features(s); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	for op, call := range operations {
		if op == OpTryLock || op == OpUnlock {
			continue
		}
		observer := &recordingObserver{}
		_, err := call(t.Context(), Observe(&minimalStore{}, observer))
		ends := observer.calls[1]
		if !errors.Is(err, ErrUnsupported) || !strings.HasPrefix(err.Error(), "store: ") || ends != string(op)+" unsupported" {
			t.Errorf("%v, calls are %q", err, observer.calls)
		}
	}
}

func TestObserve_GroupNeedsDeclarer(t *testing.T) {
	observer := &recordingObserver{}
	s := Observe(&minimalStore{}, observer)
	if _, err := TryLock(t.Context(), s, Request{Group: "g"}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("TryLock: %v", err)
	}
	if want := []string{"begin try_lock", "try_lock unsupported"}; !slices.Equal(observer.calls, want) {
		t.Errorf("calls are %q", observer.calls)
	}
}

func TestObserve_Close(t *testing.T) {
	if err := Observe(&scriptedStore{t: t, err: errCalled}, &recordingObserver{}).Close(); !sameError(err, errCalled) {
		t.Errorf("Close: %v", err)
	}
}

func TestOutcomeOf(t *testing.T) {
	for _, row := range []struct {
		err  error
		want Outcome
	}{
		{nil, "ok"},
		{ErrNotHeld, "not_held"},
		{ErrNotOwner, "not_owner"},
		{ErrDeadlock, "deadlock"},
		{ErrNotDeclared, "not_declared"},
		{ErrDeclared, "declared"},
		{ErrLimit, "limit"},
		{ErrRepeated, "repeated"},
		{ErrGaveUp, "gave_up"},
		{ErrUnsupported, "unsupported"},
		{ErrClosed, "closed"},
		{context.Canceled, "cancelled"},
		{context.DeadlineExceeded, "timeout"},
		{errors.New("lock is not held"), "error"},
	} {
		err := row.err
		if err != nil {
			err = fmt.Errorf("store: lock \"k\": %w", err)
		}
		if got := OutcomeOf(err); got != row.want {
			t.Errorf("%v is %s, want %s", err, got, row.want)
		}
	}
}

func TestOperation_Waits(t *testing.T) {
	for op := range operations {
		if got, want := op.Waits(), slices.Contains([]Operation{OpLock, OpLockAll, OpWatch}, op); got != want {
			t.Errorf("%s: %v", op, got)
		}
	}
}

func TestObserve_GetIsList(t *testing.T) {
	for err, want := range map[error]string{nil: "ok", ErrNotHeld: "ok", ErrNotLock: "not_a_lock", errCalled: "error"} {
		observer := &recordingObserver{}
		l, got := Get(context.WithValue(t.Context(), markKey{}, OpList), Observe(&scriptedStore{t: t, err: err}, observer), "k")
		if l.Key != "k" || !errors.Is(got, err) || !slices.Equal(observer.calls, []string{"begin list", "list " + want}) {
			t.Errorf("%v: %+v, %v, calls are %q", err, l, got, observer.calls)
		}
	}
}
