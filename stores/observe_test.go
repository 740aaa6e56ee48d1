package stores

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// recorder is an observer that remembers what it hears, and marks the ctx of each call.
type recorder struct{ heard []string }

type markKey struct{}

func (r *recorder) Begin(ctx context.Context, o Operation) (context.Context, func(Outcome)) {
	r.heard = append(r.heard, "begin "+string(o))
	return context.WithValue(ctx, markKey{}, o), func(outcome Outcome) {
		r.heard = append(r.heard, string(o)+" "+string(outcome))
	}
}

// marked is a store with all abilities that answers with what it is given, and fails if a
// call is not marked.
type marked struct {
	t     *testing.T
	grant Grant
	err   error
}

var (
	someLocks = []LockInfo{{Key: "a"}, {Key: "b"}}
	someGrant = Grant{Acquired: true, Token: 7}
)

func (m *marked) called(ctx context.Context, op Operation) error {
	if got := ctx.Value(markKey{}); got != op {
		m.t.Errorf("%s came with the ctx of %v", op, got)
	}
	return m.err
}

func (m *marked) TryLock(ctx context.Context, _ Request) (Grant, error) {
	return m.grant, m.called(ctx, OpTryLock)
}

func (m *marked) Lock(ctx context.Context, _ Request) (Grant, error) {
	return m.grant, m.called(ctx, OpLock)
}

func (m *marked) LockAll(ctx context.Context, req MultiRequest) (Grant, error) {
	if req.Wait {
		return m.grant, m.called(ctx, OpLockAll)
	}
	return m.grant, m.called(ctx, OpTryLockAll)
}

func (m *marked) Renew(ctx context.Context, _ Request) (Grant, error) {
	return m.grant, m.called(ctx, OpRenew)
}

func (m *marked) List(ctx context.Context, _ string) ([]LockInfo, error) {
	return someLocks, m.called(ctx, OpList)
}

func (m *marked) Get(ctx context.Context, key string) (LockInfo, error) {
	return LockInfo{Key: key}, m.called(ctx, OpList)
}

func (m *marked) Group(ctx context.Context, _ string) ([]LockInfo, error) {
	return someLocks, m.called(ctx, OpGroup)
}

func (m *marked) Watch(ctx context.Context, _ string, tell func(Event) error) error {
	if err := tell(Event{Kind: EventSnapshot}); err != nil {
		return err
	}
	return m.called(ctx, OpWatch)
}

func (m *marked) Unlock(ctx context.Context, _, _ string) error { return m.called(ctx, OpUnlock) }
func (m *marked) Revoke(ctx context.Context, _, _ string) error { return m.called(ctx, OpRevoke) }
func (m *marked) Declare(ctx context.Context, _ Declaration) error {
	return m.called(ctx, OpDeclare)
}
func (m *marked) Withdraw(ctx context.Context, _, _ string) error { return m.called(ctx, OpWithdraw) }
func (m *marked) Ping(ctx context.Context) error                  { return m.called(ctx, OpPing) }
func (m *marked) Close() error                                    { return m.err }

// asked are the calls of a store by operation, each with what it answers beside the
// error.
var asked = map[Operation]func(ctx context.Context, s Store) (any, error){
	OpTryLock: func(ctx context.Context, s Store) (any, error) { return TryLock(ctx, s, Request{}) },
	OpLock:    func(ctx context.Context, s Store) (any, error) { return Lock(ctx, s, Request{}) },
	OpTryLockAll: func(ctx context.Context, s Store) (any, error) {
		return LockAll(ctx, s, MultiRequest{})
	},
	OpLockAll: func(ctx context.Context, s Store) (any, error) {
		return LockAll(ctx, s, MultiRequest{Wait: true})
	},
	OpRenew:  func(ctx context.Context, s Store) (any, error) { return Renew(ctx, s, Request{}) },
	OpUnlock: func(ctx context.Context, s Store) (any, error) { return nil, s.Unlock(ctx, "", "") },
	OpRevoke: func(ctx context.Context, s Store) (any, error) { return nil, Revoke(ctx, s, "", "") },
	OpList:   func(ctx context.Context, s Store) (any, error) { return List(ctx, s, "") },
	OpGroup:  func(ctx context.Context, s Store) (any, error) { return Group(ctx, s, "") },
	OpWatch: func(ctx context.Context, s Store) (any, error) {
		var told any
		err := Watch(ctx, s, "", func(e Event) error { told = e.Kind; return nil })
		return told, err
	},
	OpDeclare:  func(ctx context.Context, s Store) (any, error) { return nil, Declare(ctx, s, Declaration{}) },
	OpWithdraw: func(ctx context.Context, s Store) (any, error) { return nil, Withdraw(ctx, s, "", "") },
	OpPing:     func(ctx context.Context, s Store) (any, error) { return nil, Ping(ctx, s) },
}

// takes tells whether the operation takes locks.
func takes(op Operation) bool {
	return slices.Contains([]Operation{OpTryLock, OpTryLockAll, OpLock, OpLockAll}, op)
}

func TestAnObserverHearsOfEachCallOnceAndChangesNothing(t *testing.T) {
	for op, ask := range asked {
		for _, err := range []error{nil, ErrNotHeld, errAsked} {
			t.Run(fmt.Sprint(op, " ", err), func(t *testing.T) {
				inner, heard := &marked{t, someGrant, err}, &recorder{}
				answer, got := ask(t.Context(), Observe(inner, heard))
				plainly, _ := ask(context.WithValue(t.Context(), markKey{}, op), inner)
				if got != err || fmt.Sprint(answer) != fmt.Sprint(plainly) { //nolint:errorlint // it passes as it is
					t.Errorf("answered %v, %v, want %v, %v", answer, got, plainly, err)
				}
				outcome := OutcomeOf(err)
				if err == nil && takes(op) {
					outcome = OutcomeGranted
				}
				if want := []string{"begin " + string(op), string(op) + " " + string(outcome)}; !slices.Equal(heard.heard, want) {
					t.Errorf("heard %q, want %q", heard.heard, want)
				}
			})
		}
	}
}

func TestALockThatSomebodyElseHasIsRefused(t *testing.T) {
	for op, ask := range asked {
		if !takes(op) {
			continue
		}
		heard := &recorder{}
		if _, err := ask(t.Context(), Observe(&marked{t: t}, heard)); err != nil || heard.heard[1] != string(op)+" refused" {
			t.Errorf("%v, heard %q", err, heard.heard)
		}
	}
}

func TestAWatchThatItsReaderEndsEndsWell(t *testing.T) {
	heard := &recorder{}
	err := Watch(t.Context(), Observe(&marked{t: t}, heard), "", func(Event) error { return errAsked })
	if err != errAsked || heard.heard[1] != "watch ok" { //nolint:errorlint // it passes as it is
		t.Errorf("%v, heard %q", err, heard.heard)
	}
}

func TestAnObservedStoreCanDoWhatTheStoreCan(t *testing.T) {
	for _, s := range []Store{plain{}, able{}, struct {
		Store
		Pinger
	}{}} {
		twice := Observe(Observe(s, &recorder{}), &recorder{})
		if got, want := Features(twice), Features(s); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	for op, ask := range asked {
		if op == OpTryLock || op == OpUnlock {
			continue
		}
		heard := &recorder{}
		_, err := ask(t.Context(), Observe(&plain{}, heard))
		ends := heard.heard[1]
		if !errors.Is(err, ErrUnsupported) || !strings.HasPrefix(err.Error(), "store: ") || ends != string(op)+" unsupported" {
			t.Errorf("%v, heard %q", err, heard.heard)
		}
	}
}

func TestAnObservedStoreRefusesAGroupThatTheStoreWouldNotSee(t *testing.T) {
	heard := &recorder{}
	s := Observe(&plain{}, heard)
	if _, err := TryLock(t.Context(), s, Request{Group: "g"}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("TryLock: %v", err)
	}
	if want := []string{"begin try_lock", "try_lock unsupported"}; !slices.Equal(heard.heard, want) {
		t.Errorf("heard %q", heard.heard)
	}
}

func TestClosingIsPassedOn(t *testing.T) {
	if err := Observe(&marked{t: t, err: errAsked}, &recorder{}).Close(); err != errAsked { //nolint:errorlint // as it is
		t.Errorf("Close: %v", err)
	}
}

func TestOutcomesAreNamedWhateverIsAroundTheError(t *testing.T) {
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

func TestOperationsThatWaitAreKnown(t *testing.T) {
	for op := range asked {
		if got, want := op.Waits(), slices.Contains([]Operation{OpLock, OpLockAll, OpWatch}, op); got != want {
			t.Errorf("%s: %v", op, got)
		}
	}
}

func TestALookUpIsAListForAnObserver(t *testing.T) {
	for err, want := range map[error]string{nil: "ok", ErrNotHeld: "ok", ErrNotLock: "not_a_lock", errAsked: "error"} {
		heard := &recorder{}
		l, got := Get(context.WithValue(t.Context(), markKey{}, OpList), Observe(&marked{t: t, err: err}, heard), "k")
		if l.Key != "k" || !errors.Is(got, err) || !slices.Equal(heard.heard, []string{"begin list", "list " + want}) {
			t.Errorf("%v: %+v, %v, heard %q", err, l, got, heard.heard)
		}
	}
}
