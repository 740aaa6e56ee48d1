package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/mortise-lock/mortise/client"
)

func TestLock_Deadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		other := n.client()
		defer other.Close()
		a, b := lock(t, c, "a"), lock(t, other, "b")
		if _, err := c.Lock(a.Context(), "a"); !errors.Is(err, client.ErrDeadlock) {
			t.Errorf("within the lock of a, locking a returned %v, want ErrDeadlock", err)
		}
		if _, err := c.LockAll(a.Context(), []string{"a", "c"}); !errors.Is(err, client.ErrDeadlock) {
			t.Errorf("within the lock of a, locking a and c returned %v, want ErrDeadlock", err)
		}
		inner, err := c.Lock(a.Context(), "c")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Lock(inner.Context(), "a"); !errors.Is(err, client.ErrDeadlock) {
			t.Errorf("two levels below the lock of a, locking a returned %v, want ErrDeadlock", err)
		}
		got := make(chan *client.Lease)
		go func() {
			l, err := other.Lock(b.Context(), "a")
			if err != nil {
				t.Error(err)
			}
			got <- l
		}()
		synctest.Wait()
		if _, err := c.Lock(inner.Context(), "b"); !errors.Is(err, client.ErrDeadlock) {
			t.Errorf("the holder of a locks b, the holder of b waits for a: %v, want ErrDeadlock", err)
		}
		unlock(t, inner)
		unlock(t, a)
		unlock(t, <-got)
		unlock(t, b)
	})
}

func TestLock_EndedLeaseIsNotDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		l := lock(t, c, "disk")
		n.inject(hang)
		if err := l.Unlock(t.Context()); !errors.Is(err, client.ErrUnavailable) {
			t.Errorf("Unlock returned %v", err)
		}
		n.inject(nil)
		if n.ownerOf("disk") == "" {
			t.Fatal("the lock must still be held here")
		}
		next, err := c.Lock(context.WithoutCancel(l.Context()), "disk")
		if err != nil {
			t.Fatal(err) // the TTL frees it
		}
		unlock(t, next)
	})
}
