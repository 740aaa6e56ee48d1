package client_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/client"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
)

func TestTryLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		l := lock(t, c, "disk")
		_, err := c.TryLock(t.Context(), "disk")
		if !errors.Is(err, client.ErrLocked) || err.Error() != `mortise: try lock "disk": lock is held` {
			t.Errorf("TryLock returned %v, want ErrLocked", err)
		}
		if _, err := c.TryLock(l.Context(), "disk"); !errors.Is(err, client.ErrLocked) {
			t.Errorf("within the lock TryLock returned %v, want ErrLocked", err)
		}
		if _, err := c.Lock(t.Context(), "disk", client.Wait(0)); !errors.Is(err, client.ErrLocked) {
			t.Errorf("Lock with Wait(0) returned %v, want ErrLocked", err)
		}
		if _, err := c.LockAll(t.Context(), []string{"disk", "gate"}, client.Wait(0)); !errors.Is(err, client.ErrLocked) {
			t.Errorf("LockAll with Wait(0) returned %v, want ErrLocked", err)
		}
		unlock(t, l)
		if l, err = c.TryLock(t.Context(), "disk"); err != nil {
			t.Fatal(err)
		}
		unlock(t, l)
		n.stop()
		start := time.Now()
		if _, err := c.TryLock(t.Context(), "disk"); !errors.Is(err, client.ErrUnavailable) || status.Code(err) != codes.Unavailable {
			t.Errorf("TryLock without a server returned %v, want ErrUnavailable with its status", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestLock_Waits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		first := lock(t, c, "disk")
		time.AfterFunc(ttl/3-1, func() { unlock(t, first) })
		start := time.Now()
		second := lock(t, c, "disk")
		if got := second.Expires().Sub(start); got != ttl {
			t.Errorf("after a short wait it expires %v after the request, want %v", got, ttl)
		}
		if n.count("Renew") != 0 {
			t.Error("it was renewed after a short wait")
		}
		time.AfterFunc(10*time.Minute, func() { unlock(t, second) })
		third := lock(t, c, "disk")
		if got := time.Until(third.Expires()); got != ttl {
			t.Errorf("after a long wait %v are left, want %v", got, ttl)
		}
		if third.Token() <= second.Token() {
			t.Errorf("token %d follows %d", third.Token(), second.Token())
		}
		unlock(t, third)
	})
}

// lockEnd is an end of a Lock call that waits for a lock that is held.
type lockEnd struct {
	name     string
	deadline time.Duration // of ctx; 0 is none
	wait     time.Duration // 0 is not set
	stopped  bool          // Mortise is
	fault    fault
	want     error
	also     error
	after    time.Duration
}

func TestLock_End(t *testing.T) {
	for _, row := range []lockEnd{
		{name: "the time to wait", wait: time.Minute, deadline: time.Hour, want: client.ErrLocked, after: time.Minute},
		{name: "the ctx", wait: time.Hour, deadline: time.Minute, want: context.DeadlineExceeded, after: time.Minute},
		{name: "the ctx, without a time to wait", deadline: time.Minute, want: context.DeadlineExceeded, after: time.Minute},
		{name: "the ctx, with the longest time to wait", wait: math.MaxInt64, deadline: time.Minute, want: context.DeadlineExceeded, after: time.Minute},
		{name: "the ctx while Mortise is unreachable", deadline: time.Minute, stopped: true, want: context.DeadlineExceeded, also: client.ErrUnavailable, after: time.Minute},
		{name: "the time to wait while Mortise is unreachable", wait: time.Minute, stopped: true, want: client.ErrUnavailable, after: time.Minute + time.Second},
		{name: "the ctx while the storage is unreachable", deadline: time.Minute, fault: failWithReason("STORE_ERROR"), want: context.DeadlineExceeded, after: time.Minute},
		{name: "the time to wait while the storage is unreachable", wait: time.Minute, fault: failWithReason("STORE_ERROR"), want: client.ErrUnavailable, after: time.Minute},
		{name: "retries for an unknown component", fault: failWithReason("NOT_INITIALIZED"), want: client.ErrUnavailable, after: 11 * time.Second},
		{name: "an unsupported operation", fault: failWithReason("UNSUPPORTED"), want: client.ErrUnsupported},
		{name: "a storage that refuses", fault: failWithReason("STORE_REFUSED"), want: client.ErrRefused},
		{name: "a storage that refuses, with a time to wait", wait: time.Minute, fault: failWithReason("STORE_REFUSED"), want: client.ErrRefused},
		{name: "data that is not a lock", fault: failWithReason("NOT_A_LOCK"), want: client.ErrNotLock},
	} {
		t.Run(row.name, func(t *testing.T) { synctest.Test(t, row.check) })
	}
}

func (e lockEnd) check(t *testing.T) {
	n, c := setup(t)
	holder := lock(t, c, "disk")
	n.inject(e.fault)
	if e.stopped {
		n.stop()
	}
	ctx, cancel := context.Background(), func() {}
	if e.deadline > 0 {
		ctx, cancel = context.WithTimeout(ctx, e.deadline)
	}
	defer cancel()
	var opts []client.Option
	if e.wait > 0 {
		opts = append(opts, client.Wait(e.wait))
	}
	start := time.Now()
	_, err := c.Lock(ctx, "disk", opts...)
	if !errors.Is(err, e.want) || e.also != nil && !errors.Is(err, e.also) {
		t.Errorf("Lock returned %v, want %v", err, e.want)
	}
	if took := time.Since(start); took > e.after+500*time.Millisecond || took < e.after-time.Second {
		t.Errorf("it took %v, want %v", took, e.after)
	}
	checkMentionsOnce(t, err)
	n.inject(nil)
	if e.stopped {
		n.start()
	}
	_ = holder.Unlock(t.Context())
	time.Sleep(2 * ttl)
	if n.ownerOf("disk") != "" {
		t.Error("the request that failed holds the lock")
	}
}

// checkMentionsOnce checks that the error names the operation and the resource once.
func checkMentionsOnce(t *testing.T, err error) {
	t.Helper()
	if strings.Count(err.Error(), "mortise: lock") != 1 || strings.Count(err.Error(), `"disk"`) != 1 {
		t.Errorf("the error must name operation and resource once: %v", err)
	}
}

func TestLock_CanceledLeavesNoLock(t *testing.T) {
	for _, row := range []struct {
		name string
		take func(ctx context.Context, c *client.Client) (*client.Lease, error)
	}{
		{"of one", byLock("disk")},
		{"of several", byLockAll("disk", "gate")},
		{"of a try", byTryLock("disk")},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := setup(t)
				n.inject(respondAfterCancel)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start := time.Now()
				if _, err := row.take(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("it returned %v, want the end of ctx", err)
				}
				if took := time.Since(start); took != time.Second {
					t.Errorf("it took %v", took)
				}
				if got := n.ownerOf("disk") + n.ownerOf("gate"); got != "" {
					t.Errorf("%s still holds a lock", got)
				}
			})
		})
	}
}

func TestLock_CanceledWithoutResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		n.inject(hang)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.Lock(ctx, "disk"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lock returned %v", err)
		}
		if took := time.Since(start); took > 1500*time.Millisecond {
			t.Errorf("Lock took %v, want at most 1.5s", took)
		}
	})
}

func TestLock_Restart(t *testing.T) {
	for _, row := range []struct {
		name    string
		restart func(n *network)
	}{
		{"that keeps the locks", func(n *network) { n.stop(); time.Sleep(time.Second); n.start() }},
		{"that loses the locks", func(n *network) { n.stop(); n.reset(); time.Sleep(time.Second); n.start() }},
		{"that takes long", func(n *network) { n.stop(); time.Sleep(2 * time.Minute); n.start() }},
		{"that opens the component later", func(n *network) {
			n.stop()
			n.inject(failWithReason("NOT_INITIALIZED"))
			n.start()
			time.Sleep(5 * time.Second)
			n.inject(nil)
		}},
		{"after an orderly shutdown", func(n *network) { n.inject(failWithReason("SHUTTING_DOWN")); n.stop(); n.inject(nil); n.start() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := setup(t)
				holder := lock(t, c, "disk")
				got := make(chan *client.Lease)
				go func() { got <- lock(t, c, "disk") }()
				synctest.Wait()
				row.restart(n)
				time.Sleep(time.Second)
				_ = holder.Unlock(t.Context())
				unlock(t, <-got)
				if n.ownerOf("disk") != "" {
					t.Error("the lock is still held")
				}
			})
		})
	}
}

func TestLock_CutConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		n.lockAsOther("disk")
		got := make(chan *client.Lease)
		go func() { got <- lock(t, c, "disk") }()
		synctest.Wait()
		n.cutConns()
		n.revoke("disk")
		start := time.Now()
		l := <-got
		if took := time.Since(start); took > ttl+20*time.Second {
			t.Errorf("the free lock was acquired after %v", took)
		}
		unlock(t, l)
	})
}

func TestLock_LostResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var owners []string
		n, c := setup(t, client.GRPC(grpc.WithUnaryInterceptor(
			func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				if r, ok := req.(*lockspb.LockRequest); ok {
					owners = append(owners, r.GetOwner())
				}
				return call(ctx, method, req, reply, conn, opts...)
			},
		)))
		n.inject(dropResponse("Lock"))
		start := time.Now()
		l := lock(t, c, "disk")
		if took := time.Since(start); took > time.Second {
			t.Errorf("it waited %v for its own lock", took)
		}
		if len(owners) != 2 || owners[0] == owners[1] {
			t.Errorf("the owners of the attempts are %q, want two", owners)
		}
		time.Sleep(10 * time.Minute)
		unlock(t, l)
	})
}

func TestLock_WithinLostLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		l := lock(t, c, "a")
		n.lockAsOther("b")
		n.revoke("a")
		_, err := c.Lock(l.Context(), "b")
		if !errors.Is(err, context.Canceled) || !errors.Is(err, client.ErrLost) {
			t.Errorf("Lock returned %v, want the end of ctx and its cause", err)
		}
	})
}

func TestLock_Validation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		for _, row := range []struct {
			want string
			ctx  context.Context
			opts []client.Option
		}{
			{`TTL must be at least 1ms, got 0s`, t.Context(), []client.Option{client.TTL(0)}},
			{`namespace must not contain a colon, got "a:b"`, t.Context(), []client.Option{client.Namespace("a:b")}},
			{`tenant must not contain a colon, got "a:b"`, t.Context(), []client.Option{client.Tenant("a:b")}},
			{`tenant must not be empty; use Global for locks of all tenants`, client.WithTenant(t.Context(), ""), nil},
			{`tenant must be valid UTF-8, got "\xff"`, t.Context(), []client.Option{client.Tenant("\xff")}},
		} {
			if _, err := c.Lock(row.ctx, "disk", row.opts...); err == nil || err.Error() != `mortise: lock "disk": `+row.want {
				t.Errorf("Lock returned %v, want %s", err, row.want)
			}
		}
		if _, err := c.Lock(t.Context(), "\xff"); err == nil || err.Error() != `mortise: lock "\xff": resource must be valid UTF-8` {
			t.Errorf("Lock returned %v", err)
		}
		if _, err := c.LockAll(t.Context(), nil); err == nil || err.Error() != `mortise: lock all []: at least one resource is required` {
			t.Errorf("LockAll of nothing returned %v", err)
		}
		if got := n.count(""); got != 0 {
			t.Errorf("%d requests were sent", got)
		}
	})
}

func TestLock_StatusError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		n.inject(failWithCode(codes.Unauthenticated))
		_, err := c.Lock(t.Context(), "disk")
		if status.Code(err) != codes.Unauthenticated || errors.Is(err, client.ErrUnavailable) || err.Error() != `mortise: lock "disk": refused` {
			t.Errorf("Lock returned %v", err)
		}
		if got := n.count(""); got != 1 {
			t.Errorf("%d calls, want no retry", got)
		}
	})
}

// respondAfterCancel is a fault that responds to lock calls after their ctx has ended.
func respondAfterCancel(ctx context.Context, method string, call func() (any, error)) (any, error) {
	resp, err := call()
	if strings.Contains(method, "Lock") && method != "Unlock" {
		<-ctx.Done()
		time.Sleep(time.Millisecond)
	}
	return resp, err
}

// failWithReason returns a fault that fails every call with the reason.
func failWithReason(why string) fault {
	code := map[string]codes.Code{
		"NOT_INITIALIZED": codes.FailedPrecondition, "UNSUPPORTED": codes.Unimplemented,
		"STORE_REFUSED": codes.FailedPrecondition, "NOT_A_LOCK": codes.FailedPrecondition,
	}[why]
	if code == codes.OK {
		code = codes.Unavailable
	}
	return func(context.Context, string, func() (any, error)) (any, error) { return nil, reasonError(code, why) }
}

type lockFunc func(ctx context.Context, c *client.Client) (*client.Lease, error)

func byLock(resource string) lockFunc {
	return func(ctx context.Context, c *client.Client) (*client.Lease, error) { return c.Lock(ctx, resource) }
}

func byLockAll(resources ...string) lockFunc {
	return func(ctx context.Context, c *client.Client) (*client.Lease, error) { return c.LockAll(ctx, resources) }
}

func byTryLock(resource string) lockFunc {
	return func(ctx context.Context, c *client.Client) (*client.Lease, error) { return c.TryLock(ctx, resource) }
}
