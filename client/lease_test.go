package client_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/client"
)

const ttl = 30 * time.Second

func TestUnlock_NoLaterCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		l := lock(t, c, "disk")
		time.Sleep(time.Minute)
		unlock(t, l)
		calls := n.count("")
		time.Sleep(time.Hour)
		if err := l.Unlock(t.Context()); !errors.Is(err, client.ErrNotHeld) || errors.Is(err, client.ErrLost) {
			t.Errorf("a second Unlock returned %v, want ErrNotHeld", err)
		}
		if err := l.Renew(t.Context()); !errors.Is(err, client.ErrNotHeld) {
			t.Errorf("Renew after Unlock returned %v, want ErrNotHeld", err)
		}
		if got := n.count("") - calls; got != 0 {
			t.Errorf("%d calls after Unlock", got)
		}
		if cause := context.Cause(l.Context()); !errors.Is(cause, context.Canceled) || errors.Is(cause, client.ErrLost) {
			t.Errorf("Context ended because of %v, want a plain end", cause)
		}
	})
}

func TestUnlock_CanceledContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key("who"), "ann"))
		l, err := c.Lock(ctx, "disk")
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Context().Value(key("who")); got != "ann" {
			t.Errorf("Context has lost its values: %v", got)
		}
		cancel()
		<-l.Context().Done()
		time.Sleep(10 * time.Minute)
		select {
		case <-l.Done():
			t.Error("the lease ended with the ctx")
		default:
		}
		if n.ownerOf("disk") == "" {
			t.Error("the lock ended before Unlock")
		}
		if err := l.Unlock(ctx); err != nil {
			t.Error(err)
		}
		if n.ownerOf("disk") != "" {
			t.Error("the lock is still held")
		}
	})
}

type key string

func TestUnlock_Error(t *testing.T) {
	for _, row := range []struct {
		name   string
		before func(n *network, l *client.Lease)
		want   error
	}{
		{"held until now", func(*network, *client.Lease) {}, nil},
		{"revoked meanwhile", func(n *network, l *client.Lease) { n.revoke(l.Key()) }, client.ErrLost},
		{"held by another owner", func(n *network, l *client.Lease) { n.revoke(l.Key()); n.lockAsOther(l.Key()) }, client.ErrLost},
		{"Mortise restarts with its locks", func(n *network, _ *client.Lease) { n.stop(); time.AfterFunc(time.Second, n.start) }, nil},
		{"Mortise restarts without its locks", func(n *network, _ *client.Lease) { n.stop(); n.reset(); n.start() }, client.ErrLost},
		{"the response is lost", func(n *network, _ *client.Lease) { n.inject(dropResponse("Unlock")) }, client.ErrLost},
		{"Mortise is unreachable", func(n *network, _ *client.Lease) { n.stop(); time.AfterFunc(time.Minute, n.start) }, client.ErrUnavailable},
		{"Mortise does not respond", func(n *network, _ *client.Lease) { n.inject(hang) }, client.ErrUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := setup(t)
				l := lock(t, c, "disk")
				row.before(n, l)
				start := time.Now()
				if err := l.Unlock(t.Context()); !errors.Is(err, row.want) {
					t.Errorf("Unlock returned %v, want %v", err, row.want)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("Unlock took %v", took)
				}
				time.Sleep(2 * time.Minute)
			})
		})
	}
}

func TestUnlock_Retry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		l := lock(t, c, "disk")
		n.inject(hang)
		if err := l.Unlock(t.Context()); !errors.Is(err, client.ErrUnavailable) {
			t.Errorf("Unlock returned %v, want ErrUnavailable", err)
		}
		n.inject(nil)
		unlock(t, l)
		if n.ownerOf("disk") != "" {
			t.Error("the lock is still held")
		}
	})
}

func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		l := lock(t, c, "disk")
		time.Sleep(time.Second)
		if err := l.Renew(t.Context()); err != nil || time.Until(l.Expires()) != ttl {
			t.Errorf("Renew returned %v, %v are left", err, time.Until(l.Expires()))
		}
		n.inject(failWithCode(codes.Unavailable))
		if err := l.Renew(t.Context()); !errors.Is(err, client.ErrUnavailable) || l.Err() != nil {
			t.Errorf("Renew returned %v, the lease's error is %v", err, l.Err())
		}
		n.inject(hang)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Renew(ctx); !errors.Is(err, context.DeadlineExceeded) || l.Err() != nil {
			t.Errorf("Renew returned %v, the lease's error is %v", err, l.Err())
		}
		go func() { time.Sleep(time.Second); n.inject(nil); _ = l.Unlock(t.Context()) }()
		if err := l.Renew(t.Context()); !errors.Is(err, client.ErrNotHeld) {
			t.Errorf("Renew during Unlock returned %v, want ErrNotHeld", err)
		}
	})
}

func TestRenew_CanceledByCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		l := lock(t, c, "disk", client.NoRenew())
		n.inject(hang)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		late, cancelLate := context.WithTimeout(t.Context(), time.Second)
		defer cancelLate()
		if err := l.Renew(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Renew returned %v, want %v", err, context.Canceled)
		}
		if err := l.Renew(late); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Renew returned %v, want %v", err, context.DeadlineExceeded)
		}
		<-l.Done()
		err := l.Err()
		if !errors.Is(err, client.ErrLost) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the lease ended with %v, want ErrLost alone", err)
		}
	})
}

func TestLockAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		l, err := c.LockAll(t.Context(), []string{"b", "a", "c", "a"})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := l.Keys(), []string{"a", "b", "c"}; !slices.Equal(got, want) || l.Key() != "a" {
			t.Errorf("the keys are %q, the first %q, want %q", got, l.Key(), want)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got, want := n.count("Renew"), 3*60; got != want {
			t.Errorf("%d renewals in ten minutes, want %d", got, want)
		}
		n.revoke("b")
		<-l.Done()
		synctest.Wait()
		if a, b, c := n.ownerOf("a"), n.ownerOf("b"), n.ownerOf("c"); a+b+c != "" {
			t.Errorf("one lock is lost, but the others are held by %q %q %q", a, b, c)
		}
		if got := n.count("Unlock"); got != 2 {
			t.Errorf("%d locks were released, want the two others", got)
		}
		if err := l.Unlock(t.Context()); !errors.Is(err, client.ErrLost) {
			t.Errorf("Unlock returned %v, want ErrLost", err)
		}
	})
}

func TestLockAll_UnlockAfterLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		l, err := c.LockAll(t.Context(), []string{"a", "b"})
		if err != nil {
			t.Fatal(err)
		}
		n.revoke("a")
		if err := l.Unlock(t.Context()); !errors.Is(err, client.ErrLost) {
			t.Errorf("Unlock returned %v, want ErrLost", err)
		}
		if n.ownerOf("b") != "" {
			t.Error("the other lock is still held")
		}
	})
}

func TestClient_Close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		defer n.stop()
		c := n.client()
		l := lock(t, c, "disk")
		waiting := make(chan error)
		go func() { _, err := c.Lock(t.Context(), "disk"); waiting <- err }()
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if cause := context.Cause(l.Context()); !errors.Is(cause, client.ErrLost) || !errors.Is(cause, client.ErrClosed) {
			t.Errorf("the cause is %v, want ErrLost and ErrClosed", cause)
		}
		if n.ownerOf("disk") == "" {
			t.Error("Close released the lock")
		}
		if err := <-waiting; !errors.Is(err, client.ErrClosed) {
			t.Errorf("Lock returned %v, want ErrClosed", err)
		}
		if _, err := c.TryLock(t.Context(), "other"); !errors.Is(err, client.ErrClosed) {
			t.Errorf("TryLock returned %v, want ErrClosed", err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("a second Close returned %v", err)
		}
	})
}

func TestClient_CloseDuringGrant(t *testing.T) {
	n := newNetwork()
	defer n.stop()
	holder := n.client()
	defer holder.Close()
	granted := 0
	for range 100 {
		c := n.client()
		l := lock(t, holder, "disk")
		waiting := make(chan error)
		go func() { _, err := c.Lock(t.Context(), "disk"); waiting <- err }()
		for n.waiters("disk") == 0 {
			runtime.Gosched()
		}
		freed := make(chan error)
		go func() { freed <- l.Unlock(t.Context()) }()
		if err := errors.Join(c.Close(), <-freed); err != nil {
			t.Fatal(err)
		}
		if err := <-waiting; err == nil {
			n.revoke("disk") // it was granted before Close, which does not release locks
			granted++
		} else if !errors.Is(err, client.ErrClosed) {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(5 * time.Second); n.ownerOf("disk") != ""; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatal("the lock is held by a request that failed")
			}
		}
	}
	t.Logf("%d were granted", granted)
}

// lock acquires the lock.
func lock(t *testing.T, c *client.Client, resource string, opts ...client.Option) *client.Lease {
	t.Helper()
	l, err := c.Lock(t.Context(), resource, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func unlock(t *testing.T, l *client.Lease) {
	t.Helper()
	if err := l.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

// hang is a fault that never responds to a call.
func hang(ctx context.Context, _ string, _ func() (any, error)) (any, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// respondLate is a fault that responds after the lease has ended.
func respondLate(_ context.Context, _ string, call func() (any, error)) (any, error) {
	resp, err := call()
	time.Sleep(ttl)
	return resp, err
}

// failWithCode returns a fault that fails every call with the code.
func failWithCode(code codes.Code) fault {
	return func(context.Context, string, func() (any, error)) (any, error) {
		return nil, status.Error(code, "refused")
	}
}

// dropResponse returns a fault that loses the first response of the method.
func dropResponse(method string) fault {
	lost := false
	return func(_ context.Context, m string, call func() (any, error)) (any, error) {
		resp, err := call()
		if m == method && !lost {
			lost = true
			return nil, status.Error(codes.Unavailable, "the connection broke")
		}
		return resp, err
	}
}
