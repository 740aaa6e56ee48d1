package stores_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/mortise-lock/mortise/stores"
)

// unlocker remembers what was unlocked by a call that could still be answered.
type unlocker struct {
	stores.Store
	unlocked []string
}

func (s *unlocker) Unlock(ctx context.Context, key, owner string) error {
	if ctx.Err() == nil {
		s.unlocked = append(s.unlocked, key+" of "+owner)
	}
	return stores.ErrNotHeld
}

func TestWhoIsGoneKeepsNothing(t *testing.T) {
	gone, leave := context.WithCancel(t.Context())
	leave()
	granted := stores.Grant{Acquired: true, Token: 7}
	away := errors.New("storage is away")
	for _, row := range []struct {
		name     string
		ctx      context.Context
		grant    stores.Grant
		err      error
		want     stores.Grant
		wantErr  error
		unlocked []string
	}{
		{"who is there keeps a grant", t.Context(), granted, nil, granted, nil, nil},
		{"who is gone has it taken back", gone, granted, nil, stores.Grant{}, context.Canceled, []string{"a of ann", "b of ann"}},
		{"a refusal is one for who is gone too", gone, stores.Grant{}, nil, stores.Grant{}, nil, nil},
		{"a failure is one", gone, stores.Grant{}, away, stores.Grant{}, away, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := &unlocker{}
			got, err := stores.Keep(row.ctx, s, row.grant, row.err, "ann", "a", "b")
			if got != row.want || !errors.Is(err, row.wantErr) || !slices.Equal(s.unlocked, row.unlocked) {
				t.Errorf("%+v, %v, and %q were unlocked", got, err, s.unlocked)
			}
		})
	}
}
