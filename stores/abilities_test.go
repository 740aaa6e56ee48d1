package stores

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// minimalStore is a store without abilities.
type minimalStore struct{ Store }

// fullStore is a store with all abilities, each of which fails with errCalled.
type fullStore struct{ minimalStore }

var errCalled = errors.New("called")

// sameError reports whether err is want itself, not an error that wraps it.
func sameError(err, want error) bool {
	return err == want //nolint:errorlint // the purpose of sameError
}

func (fullStore) Renew(context.Context, Request) (Grant, error)          { return Grant{}, errCalled }
func (fullStore) Lock(context.Context, Request) (Grant, error)           { return Grant{}, errCalled }
func (fullStore) LockAll(context.Context, MultiRequest) (Grant, error)   { return Grant{}, errCalled }
func (fullStore) Revoke(context.Context, string, string) error           { return errCalled }
func (fullStore) List(context.Context, string) ([]LockInfo, error)       { return nil, errCalled }
func (fullStore) Watch(context.Context, string, func(Event) error) error { return errCalled }
func (fullStore) Declare(context.Context, Declaration) error             { return errCalled }
func (fullStore) Withdraw(context.Context, string, string) error         { return errCalled }
func (fullStore) Group(context.Context, string) ([]LockInfo, error)      { return nil, errCalled }
func (fullStore) Ping(context.Context) error                             { return errCalled }
func (fullStore) TryLock(context.Context, Request) (Grant, error)        { return Grant{}, nil }
func (fullStore) Unlock(_ context.Context, _ string, _ string) error     { return nil }

func TestHelpers(t *testing.T) {
	for _, row := range []struct {
		helper  string
		ability string
		call    func(s Store) error
	}{
		{"Renew", "renew", func(s Store) error { _, err := Renew(t.Context(), s, Request{}); return err }},
		{"Lock", "wait", func(s Store) error { _, err := Lock(t.Context(), s, Request{}); return err }},
		{"LockAll", "lock all", func(s Store) error { _, err := LockAll(t.Context(), s, MultiRequest{}); return err }},
		{"Revoke", "revoke", func(s Store) error { return Revoke(t.Context(), s, "", "") }},
		{"Watch", "watch", func(s Store) error { return Watch(t.Context(), s, "", nil) }},
		{"List", "list", func(s Store) error { _, err := List(t.Context(), s, ""); return err }},
		{"Declare", "declare", func(s Store) error { return Declare(t.Context(), s, Declaration{}) }},
		{"Withdraw", "declare", func(s Store) error { return Withdraw(t.Context(), s, "", "") }},
		{"Group", "declare", func(s Store) error { _, err := Group(t.Context(), s, ""); return err }},
		{"Ping", "ping", func(s Store) error { return Ping(t.Context(), s) }},
	} {
		t.Run(row.helper, func(t *testing.T) {
			if err := row.call(fullStore{}); !sameError(err, errCalled) {
				t.Errorf("a store with the ability returned %v", err)
			}
			for _, s := range []Store{minimalStore{}, &minimalStore{}} {
				err := row.call(s)
				want := "store: " + row.ability + ": unsupported operation"
				if !errors.Is(err, ErrUnsupported) || err.Error() != want {
					t.Errorf("a store without the ability returned %v, want %s", err, want)
				}
			}
		})
	}
}

func TestFeatures(t *testing.T) {
	for _, row := range []struct {
		store Store
		want  string
	}{
		{minimalStore{}, "FENCING"},
		{fullStore{}, "DECLARE FENCING LIST MULTI PING RENEW REVOKE WAIT WATCH"},
		{struct {
			Store
			Pinger
		}{}, "FENCING PING"},
	} {
		if got := strings.Join(Features(row.store), " "); got != row.want {
			t.Errorf("Features of %T are %s, want %s", row.store, got, row.want)
		}
	}
}

func TestLockAll_WaitNeedsWaiter(t *testing.T) {
	s := struct {
		Store
		MultiLocker
	}{minimalStore{}, fullStore{}}
	if _, err := LockAll(t.Context(), s, MultiRequest{}); !sameError(err, errCalled) {
		t.Errorf("without waiting: %v", err)
	}
	if _, err := LockAll(t.Context(), s, MultiRequest{Wait: true}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("waiting: %v", err)
	}
}

func TestLock_GroupNeedsDeclarer(t *testing.T) {
	waiter := struct {
		Store
		Waiter
	}{fullStore{}, fullStore{}}
	for name, call := range map[string]func(Store, Request) (Grant, error){
		"TryLock": func(s Store, r Request) (Grant, error) { return TryLock(t.Context(), s, r) },
		"Lock":    func(s Store, r Request) (Grant, error) { return Lock(t.Context(), s, r) },
	} {
		if _, err := call(waiter, Request{Group: "g"}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s of a store that is not a Declarer returned %v", name, err)
		}
		for s, r := range map[Store]Request{waiter: {}, fullStore{}: {Group: "g"}} {
			if _, err := call(s, r); errors.Is(err, ErrUnsupported) {
				t.Errorf("%s of %+v returned %v", name, r, err)
			}
		}
	}
}

func TestEventKind_String(t *testing.T) {
	for kind, want := range map[EventKind]string{
		EventSnapshot: "SNAPSHOT", EventAcquired: "ACQUIRED", EventReleased: "RELEASED", EventExpired: "EXPIRED", EventRevoked: "REVOKED",
		EventDeclared: "DECLARED", EventWithdrawn: "WITHDRAWN", 0: "EventKind(0)", EventWithdrawn + 1: "EventKind(8)",
	} {
		if kind.String() != want {
			t.Errorf("String of %d returned %s, want %s", int(kind), kind, want)
		}
	}
}
