package stores

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestValidateNamesTheFirstFieldThatIsOutOfBounds(t *testing.T) {
	long := strings.Repeat("x", 1025)
	for _, row := range []struct {
		says string
		req  Request
		want string // the error, or nothing
	}{
		{"the shortest names and the least TTL", Request{"k", "o", time.Millisecond}, ""},
		{"the longest names and the largest TTL", Request{long[:1024], long[:1024], math.MaxInt32 * time.Second}, ""},
		{"any bytes", Request{"\x00", "\xff", time.Second}, ""},
		{"no key", Request{"", "", 0}, "key is empty"},
		{"a long key", Request{long, "", 0}, "key is 1025 bytes long, the most is 1024"},
		{"a key that is long in bytes", Request{strings.Repeat("鍵", 342), "o", time.Second}, "key is 1026 bytes long, the most is 1024"},
		{"no owner", Request{"k", "", 0}, "owner is empty"},
		{"a long owner", Request{"k", long, 0}, "owner is 1025 bytes long, the most is 1024"},
		{"no TTL", Request{"k", "o", 0}, "ttl is 0s, the least is 1ms"},
		{"a negative TTL", Request{"k", "o", -time.Second}, "ttl is -1s, the least is 1ms"},
		{"a TTL below a millisecond", Request{"k", "o", time.Millisecond - 1}, "ttl is 999.999µs, the least is 1ms"},
		{"a TTL above the largest", Request{"k", "o", MaxTTL + 1}, "ttl is 596523h14m7.000000001s, the most is 596523h14m7s"},
	} {
		t.Run(row.says, func(t *testing.T) {
			err := row.req.Validate()
			if err == nil && row.want == "" {
				return
			}
			var field *FieldError
			if !errors.As(err, &field) || field.Error() != row.want {
				t.Errorf("Validate returned %v, want %q", err, row.want)
			}
		})
	}
}

func FuzzValidateAcceptsWhatIsWithinBounds(f *testing.F) {
	f.Add("door", "ann", int64(time.Second))
	f.Add("", "", int64(0))
	f.Add(strings.Repeat("k", 1024), strings.Repeat("o", 1025), int64(math.MaxInt64))
	f.Add("\x00", "\xff", int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, key, owner string, ns int64) {
		within := len(key) >= 1 && len(key) <= 1024 && len(owner) >= 1 && len(owner) <= 1024 &&
			ns >= 1e6 && ns <= math.MaxInt32*1e9
		if err := (Request{key, owner, time.Duration(ns)}).Validate(); (err == nil) != within {
			t.Errorf("Validate returned %v", err)
		}
	})
}

// plain is a store without abilities.
type plain struct{ Store }

// able is a store with all abilities, each of which fails with errAsked.
type able struct{ plain }

var errAsked = errors.New("asked")

func (able) Renew(context.Context, Request) (Grant, error)      { return Grant{}, errAsked }
func (able) List(context.Context, string) ([]Lock, error)       { return nil, errAsked }
func (able) Ping(context.Context) error                         { return errAsked }
func (able) TryLock(context.Context, Request) (Grant, error)    { return Grant{}, nil }
func (able) Unlock(_ context.Context, _ string, _ string) error { return nil }

func TestAbilitiesAreAskedForOrUnsupported(t *testing.T) {
	for _, row := range []struct {
		ability string
		ask     func(s Store) error
	}{
		{"renew", func(s Store) error { _, err := Renew(t.Context(), s, Request{}); return err }},
		{"list", func(s Store) error { _, err := List(t.Context(), s, ""); return err }},
		{"ping", func(s Store) error { return Ping(t.Context(), s) }},
	} {
		t.Run(row.ability, func(t *testing.T) {
			if err := row.ask(able{}); err != errAsked { //nolint:errorlint // the helper adds nothing
				t.Errorf("a store that has the ability returned %v", err)
			}
			for _, s := range []Store{plain{}, &plain{}} {
				err := row.ask(s)
				want := "stores: " + row.ability + ": unsupported operation"
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
		{able{}, "FENCING LIST PING RENEW"},
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
