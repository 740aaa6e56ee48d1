package client_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/client"
)

// TestHolding_Deadlock checks each way to declare the owners of locks that the parent
// process holds.
func TestHolding_Deadlock(t *testing.T) {
	long := strings.Repeat("x", 1025)
	for _, row := range []struct {
		name     string
		declare  func(t *testing.T, c *client.Client, owner string) *client.Client
		deadlock bool
	}{
		{"in the environment", func(t *testing.T, c *client.Client, owner string) *client.Client {
			t.Setenv(client.HoldingVariable, owner)
			return nil
		}, true},
		{"in the environment, among others", func(t *testing.T, c *client.Client, owner string) *client.Client {
			t.Setenv(client.HoldingVariable, "other,"+owner+",other too")
			return nil
		}, true},
		{"in the environment, beside what no server accepts", func(t *testing.T, c *client.Client, owner string) *client.Client {
			t.Setenv(client.HoldingVariable, ",\xff,"+long+","+owner+",")
			return nil
		}, true},
		{"in the environment, beside more than a request can declare", func(t *testing.T, c *client.Client, owner string) *client.Client {
			t.Setenv(client.HoldingVariable, owner+strings.Repeat(",other", 100))
			return nil
		}, true},
		{"by an option", func(t *testing.T, c *client.Client, owner string) *client.Client {
			return c.With(client.Holding("other", owner))
		}, true},
		{"by several options", func(t *testing.T, c *client.Client, owner string) *client.Client {
			return c.With(client.Holding(owner), client.Holding("other"))
		}, true},
		{"not at all", func(t *testing.T, c *client.Client, owner string) *client.Client {
			t.Setenv(client.HoldingVariable, "other")
			return nil
		}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := newNetwork()
			defer n.stop()
			c := n.client()
			defer c.Close()
			l := lock(t, c, "disk")
			other := row.declare(t, c, l.Owner())
			if other == nil {
				other = n.client()
				defer other.Close()
			}
			wait := client.Wait(50 * time.Millisecond)
			_, one := other.Lock(t.Context(), "disk", wait)
			_, several := other.LockAll(t.Context(), []string{"a", "disk"}, wait)
			for _, err := range []error{one, several} {
				if errors.Is(err, client.ErrDeadlock) != row.deadlock || errors.Is(err, client.ErrLocked) == row.deadlock {
					t.Errorf("got %v", err)
				}
			}
			if _, err := other.TryLock(t.Context(), "disk"); !errors.Is(err, client.ErrLocked) {
				t.Errorf("TryLock returned %v, want ErrLocked", err)
			}
			unlock(t, l)
		})
	}
}

func TestLease_HoldingOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := setup(t)
		a, err := c.Lock(t.Context(), "a", client.Holding("x", "y"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.Lock(a.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		d, err := c.Lock(b.Context(), "d", client.Holding("y", "z"))
		if err != nil {
			t.Fatal(err)
		}
		check := func(l *client.Lease, want ...string) {
			t.Helper()
			if got := l.Holding(); !slices.Equal(got, want) {
				t.Errorf("Holding returned %q, want %q", got, want)
			}
		}
		check(a, a.Owner(), "x", "y")
		check(b, b.Owner(), a.Owner(), "x", "y")
		check(d, d.Owner(), b.Owner(), a.Owner(), "y", "z", "x")
		unlock(t, b)
		check(d, d.Owner(), a.Owner(), "y", "z", "x")
		unlock(t, d)
		unlock(t, a)
	})
}

func TestLease_HoldingLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := setup(t)
		var many []string
		for i := range 100 {
			many = append(many, fmt.Sprint(i))
		}
		l, err := c.Lock(t.Context(), "a", client.Holding(many...))
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Holding(); len(got) != 64 || got[0] != l.Owner() || got[63] != "62" {
			t.Errorf("Holding returned %q", got)
		}
		unlock(t, l)
	})
}
