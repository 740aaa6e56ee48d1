package stores

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// plain is a store without abilities.
type plain struct{ Store }

// able is a store with all abilities, each of which fails with errAsked.
type able struct{ plain }

var errAsked = errors.New("asked")

func (able) Renew(context.Context, Request) (Grant, error)          { return Grant{}, errAsked }
func (able) Lock(context.Context, Request) (Grant, error)           { return Grant{}, errAsked }
func (able) LockAll(context.Context, MultiRequest) (Grant, error)   { return Grant{}, errAsked }
func (able) Revoke(context.Context, string, string) error           { return errAsked }
func (able) List(context.Context, string) ([]LockInfo, error)       { return nil, errAsked }
func (able) Watch(context.Context, string, func(Event) error) error { return errAsked }
func (able) Declare(context.Context, Declaration) error             { return errAsked }
func (able) Withdraw(context.Context, string, string) error         { return errAsked }
func (able) Group(context.Context, string) ([]LockInfo, error)      { return nil, errAsked }
func (able) Ping(context.Context) error                             { return errAsked }
func (able) TryLock(context.Context, Request) (Grant, error)        { return Grant{}, nil }
func (able) Unlock(_ context.Context, _ string, _ string) error     { return nil }

func TestAbilitiesAreAskedForOrUnsupported(t *testing.T) {
	for _, row := range []struct {
		helper  string
		ability string
		ask     func(s Store) error
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
			if err := row.ask(able{}); err != errAsked { //nolint:errorlint // the helper adds nothing
				t.Errorf("a store that has the ability returned %v", err)
			}
			for _, s := range []Store{plain{}, &plain{}} {
				err := row.ask(s)
				want := "store: " + row.ability + ": unsupported operation"
				if !errors.Is(err, ErrUnsupported) || err.Error() != want {
					t.Errorf("a store that has it not returned %v, want %s", err, want)
				}
			}
		})
	}
}

func TestFeaturesAreTheAbilities(t *testing.T) {
	for _, row := range []struct {
		store Store
		want  string
	}{
		{plain{}, "FENCING"},
		{able{}, "DECLARE FENCING LIST MULTI PING RENEW REVOKE WAIT WATCH"},
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

func TestLockAllThatWaitsNeedsAWaiter(t *testing.T) {
	s := struct {
		Store
		MultiLocker
	}{plain{}, able{}}
	if _, err := LockAll(t.Context(), s, MultiRequest{}); err != errAsked { //nolint:errorlint // the helper adds nothing
		t.Errorf("without waiting: %v", err)
	}
	if _, err := LockAll(t.Context(), s, MultiRequest{Wait: true}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("waiting: %v", err)
	}
}

func TestLocksOfAGroupNeedADeclarer(t *testing.T) {
	waiter := struct {
		Store
		Waiter
	}{able{}, able{}}
	for name, ask := range map[string]func(Store, Request) (Grant, error){
		"TryLock": func(s Store, r Request) (Grant, error) { return TryLock(t.Context(), s, r) },
		"Lock":    func(s Store, r Request) (Grant, error) { return Lock(t.Context(), s, r) },
	} {
		if _, err := ask(waiter, Request{Group: "g"}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s of a store that declares no locks: %v", name, err)
		}
		for s, r := range map[Store]Request{waiter: {}, able{}: {Group: "g"}} {
			if _, err := ask(s, r); errors.Is(err, ErrUnsupported) {
				t.Errorf("%s of %+v: %v", name, r, err)
			}
		}
	}
}

func TestEventKindsHaveNames(t *testing.T) {
	for kind, want := range map[EventKind]string{
		EventSnapshot: "SNAPSHOT", EventAcquired: "ACQUIRED", EventReleased: "RELEASED", EventExpired: "EXPIRED", EventRevoked: "REVOKED",
		EventDeclared: "DECLARED", EventWithdrawn: "WITHDRAWN", 0: "EventKind(0)", EventWithdrawn + 1: "EventKind(8)",
	} {
		if kind.String() != want {
			t.Errorf("%d is called %s, want %s", int(kind), kind, want)
		}
	}
}
